# Perl's SOAP::Lite. Of a WSDL in document/literal style it takes addresses, actions and name space; the parts of a call are
# named by hand, as its manual says.
use strict;
use warnings;
use utf8;
use Encode qw(decode encode);
use SOAP::Lite;
use URI::Escape qw(uri_escape_utf8 uri_unescape);

my ($methods) = values %{ SOAP::Schema->new->schema_url($ARGV[0])->parse->services };
my $start = $methods->{startToolkit} or die 'the WSDL has no startToolkit';
my $soap = SOAP::Lite->new->proxy($start->{endpoint}->value)->ns($start->{namespace}, 'tns')->envprefix('soap')->autotype(0);
$soap->on_fault(sub { $_[1] });
my %operations = (start => 'startToolkit', status => 'getServiceStatus', abort => 'abortService', notify => 'notifyService');
$| = 1;
print "ready\n";
while (my $line = <STDIN>) {
    chomp $line;
    my ($operation, @words) = split /\t/, $line;
    my @data;
    for my $word (@words) {
        my ($name, $value) = split /=/, $word, 2;
        $value = defined $value ? decode('UTF-8', uri_unescape($value)) : undef;
        $name =~ s/!$//;
        push @data, SOAP::Data->name("tns:$name" => $value)->type(defined $value ? 'string' : '');
    }
    my $answer = eval { $soap->call("tns:$operations{$operation}" => @data) };
    if (!ref $answer) {
        print "error\t", uri_escape_utf8($@ || 'no answer'), "\n";
    } elsif ($answer->fault) {
        my $detail = $answer->faultdetail;
        $detail = $detail->{ServiceFault} if ref $detail;
        print "fault\t", (ref $detail ? 'typed' : 'untyped'), "\t", uri_escape_utf8($detail->{errorCode} // ''), "\t",
            uri_escape_utf8($detail->{description} // ''), "\n";
    } else {
        my $body = $answer->valueof('//Body/[1]');
        print join("\t", 'ok', map { "$_=" . uri_escape_utf8($body->{$_} // '') } keys %$body), "\n";
    }
}
