# Mojolicious, with default settings: without an argument a server that prints `port N`, with a URL
# a client. Both send back what comes.
use Mojo::Base -strict;
use Mojo::IOLoop;

if (my $url = shift) {
    require Mojo::UserAgent;
    my $agent = Mojo::UserAgent->new;
    $agent->websocket($url => sub {
        my (undef, $connection) = @_;
        return Mojo::IOLoop->stop unless $connection->is_websocket;
        $connection->on(text => sub { $_[0]->send({text => $_[1]}) });
        $connection->on(binary => sub { $_[0]->send({binary => $_[1]}) });
        $connection->on(finish => sub { Mojo::IOLoop->stop });
    });
    Mojo::IOLoop->start;
    exit;
}

require Mojo::Server::Daemon;
require Mojolicious::Lite;
Mojolicious::Lite->import;
app()->log->level('fatal');
websocket('/' => sub {
    my $connection = shift;
    $connection->on(text => sub { $_[0]->tx->send({text => $_[1]}) });
    $connection->on(binary => sub { $_[0]->tx->send({binary => $_[1]}) });
});
my $daemon = Mojo::Server::Daemon->new(app => app(), listen => ['http://127.0.0.1'], silent => 1);
$daemon->start;
$| = 1;
say 'port ', $daemon->ports->[0];
Mojo::IOLoop->start;
