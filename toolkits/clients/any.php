<?php
// Any service's status and start, each asked so that it refuses: any.php WSDL START INPUTS-AS-JSON
$client = new SoapClient($argv[1], ['cache_wsdl' => WSDL_CACHE_NONE, 'exceptions' => true]);
$calls = [['getServiceStatus', ['serviceID' => "nobody's", 'sessionToken' => 't']],
    [$argv[2], ['serviceID' => ' ', 'sessionToken' => 't'] + json_decode($argv[3], true)]];
foreach ($calls as [$operation, $given]) {
    try {
        $client->$operation($given);
    } catch (SoapFault $fault) {
        echo $fault->detail->ServiceFault->errorCode, "\n";
    }
}
