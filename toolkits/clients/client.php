<?php
// PHP's own SoapClient.
$client = new SoapClient($argv[1], ['cache_wsdl' => WSDL_CACHE_NONE, 'exceptions' => true]);
echo "ready\n";
while (($line = fgets(STDIN)) !== false) {
    $words = explode("\t", rtrim($line, "\n"));
    $operation = ['start' => 'startToolkit', 'status' => 'getServiceStatus', 'abort' => 'abortService',
        'notify' => 'notifyService'][array_shift($words)];
    $given = [];
    foreach ($words as $word) {
        if (str_ends_with($word, '!')) {
            $given[substr($word, 0, -1)] = null;
        } else {
            [$name, $value] = explode('=', $word, 2);
            $given[$name] = rawurldecode($value);
        }
    }
    if (isset($given['hold'])) {
        $given['hold'] = $given['hold'] === 'true';
    }
    try {
        $said = 'ok';
        foreach ((array) $client->__soapCall($operation, [$given]) as $name => $value) {
            $said .= "\t$name=" . rawurlencode(is_bool($value) ? ($value ? 'true' : 'false') : (string) $value);
        }
    } catch (SoapFault $fault) {
        $detail = $fault->detail->ServiceFault ?? null;
        if ($detail) {
            $said = "fault\ttyped\t" . rawurlencode($detail->errorCode) . "\t" . rawurlencode($detail->description);
        } else {
            $local = str_starts_with($fault->getMessage(), 'SOAP-ERROR: Encoding');
            $said = ($local ? 'refused' : 'error') . "\t" . rawurlencode($fault->getMessage());
        }
    }
    echo $said, "\n";
}
