# Any service's status and start, each asked so that it refuses: any.pl WSDL START INPUTS-AS-JSON
use strict;
use warnings;
use JSON::PP;
use SOAP::Lite;

my ($wsdl, $start, $inputs) = @ARGV;
my ($methods) = values %{ SOAP::Schema->new->schema_url($wsdl)->parse->services };
my $method = $methods->{$start} or die "the WSDL has no $start";
my $soap = SOAP::Lite->new->proxy($method->{endpoint}->value)->ns($method->{namespace}, 'tns')->envprefix('soap')->autotype(0);
$soap->on_fault(sub { $_[1] });
for my $call (['getServiceStatus', "nobody's", {}], [$start, ' ', decode_json($inputs)]) {
    my ($operation, $id, $more) = @$call;
    my %given = (serviceID => $id, sessionToken => 't', %$more);
    my $answer = $soap->call("tns:$operation" => map { SOAP::Data->name("tns:$_" => $given{$_})->type('') } keys %given);
    print $answer->faultdetail->{ServiceFault}{errorCode}, "\n";
}
