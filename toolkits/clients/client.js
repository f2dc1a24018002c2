// node's package soap.
const soap = require('soap');
const readline = require('readline');
const OPERATIONS = { start: 'startToolkit', status: 'getServiceStatus', abort: 'abortService', notify: 'notifyService' };

async function main() {
  const client = await soap.createClientAsync(process.argv[2]);
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [operation, ...words] = line.split('\t');
    const given = {};
    for (const word of words) {
      const at = word.indexOf('=');
      if (at < 0) given[word.slice(0, -1)] = { attributes: { 'xsi:nil': 'true' } };
      else given[word.slice(0, at)] = decodeURIComponent(word.slice(at + 1));
    }
    try {
      const [result] = await client[OPERATIONS[operation] + 'Async'](given);
      const pairs = Object.entries(result).map(([name, value]) => `\t${name}=${encodeURIComponent(String(value))}`);
      console.log('ok' + pairs.join(''));
    } catch (error) {
      const fault = error.root && error.root.Envelope.Body.Fault;
      const detail = fault && fault.detail && fault.detail.ServiceFault;
      if (detail) console.log(`fault\ttyped\t${encodeURIComponent(detail.errorCode)}\t${encodeURIComponent(detail.description)}`);
      else console.log('error\t' + encodeURIComponent(String(error)));
    }
  }
}
main();
