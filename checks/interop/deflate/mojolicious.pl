# An echo by Mojolicious, which compresses with context takeover whatever a client asks for.
use Mojolicious::Lite -signatures;
use Mojo::IOLoop;
use Mojo::Server::Daemon;

websocket '/echo' => sub ($c) {
    $c->tx->max_websocket_size(16 << 20)->with_compression;
    $c->on(text   => sub ($c, $bytes) { $c->send({text   => $bytes}) });
    $c->on(binary => sub ($c, $bytes) { $c->send({binary => $bytes}) });
};

app->log->level('error');
my $daemon = Mojo::Server::Daemon->new(app => app, listen => ['http://127.0.0.1'], silent => 1);
$| = 1;
print 'Mojolicious ', Mojolicious->VERSION, "\n";
print 'listening on 127.0.0.1:', $daemon->start->ports->[0], "\n";
Mojo::IOLoop->start;
