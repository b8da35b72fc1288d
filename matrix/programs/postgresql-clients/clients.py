"""psycopg in threads, a connection for each question and one that is kept; what PostgreSQL says of its callers."""
import os, threading
import psycopg

where = f"host={os.environ['HOST']} port={os.environ['PORT']} user=postgres dbname=postgres"
answers = []


def ask(number):
    with psycopg.connect(where) as connection:
        row = connection.execute("select %s + 1, host(inet_client_addr()), host(inet_server_addr())", (number,)).fetchone()
        answers.append(row)


for turn in range(5):
    threads = [threading.Thread(target=ask, args=(turn * 8 + number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(sorted(answers))
with psycopg.connect(where) as connection:
    own = connection.pgconn.socket
    port = connection.execute("select client_port from pg_stat_activity where pid = pg_backend_pid()").fetchone()[0]
    import socket

    print("own port" if socket.socket(fileno=os.dup(own)).getsockname()[1] == port else port)
    try:
        connection.execute("select nonsense")
    except psycopg.Error as error:
        print(error.sqlstate)
