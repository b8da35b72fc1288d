# The plainest server in Perl: an accept that blocks, whose failure ends the loop. Its version, and who asks.
use strict;
use warnings;
use IO::Socket::INET;

my $listener = IO::Socket::INET->new(LocalAddr => $ENV{HOST}, LocalPort => $ENV{PORT}, Listen => 64, ReuseAddr => 1)
    or die "cannot listen: $!";
while (my $connection = $listener->accept()) {
    my $request = <$connection> // "";
    while (defined(my $line = <$connection>)) { last if $line eq "\r\n"; }
    my $said = $request =~ m{/peer} ? $connection->peerhost . " " . $connection->peerport : "version $ENV{VERSION}";
    print $connection "HTTP/1.0 200 OK\r\n\r\n$said\n" if $request;
    close $connection;
}
die "accept failed: $!";
