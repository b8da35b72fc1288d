<?php
// The plainest server in PHP: an accept that blocks, whose failure ends the loop. Its version, and who asks.
$listener = stream_socket_server('tcp://' . getenv('HOST') . ':' . getenv('PORT'), $code, $message);
if (!$listener) {
    fwrite(STDERR, "cannot listen: $message\n");
    exit(1);
}
while ($connection = stream_socket_accept($listener, -1, $peer)) {
    $request = (string) fgets($connection);
    while (($line = fgets($connection)) !== false && $line !== "\r\n");
    $said = str_contains($request, '/peer') ? str_replace(':', ' ', $peer) : 'version ' . getenv('VERSION');
    if ($request !== '') {
        fwrite($connection, "HTTP/1.0 200 OK\r\n\r\n$said\n");
    }
    fclose($connection);
}
fwrite(STDERR, "accept failed\n");
exit(1);
