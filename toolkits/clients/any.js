// Any service's status and start, each asked so that it refuses: any.js WSDL START INPUTS-AS-JSON
const soap = require('soap');
const [wsdl, start, inputs] = process.argv.slice(2);

async function main() {
  const client = await soap.createClientAsync(wsdl);
  const calls = [['getServiceStatus', { serviceID: "nobody's", sessionToken: 't' }],
    [start, { serviceID: ' ', sessionToken: 't', ...JSON.parse(inputs) }]];
  for (const [operation, given] of calls) {
    // as most write it, with a callback: a service's own name would be in the way of this one
    await new Promise((done) => client[operation](given, (error) => {
      console.log(error.root.Envelope.Body.Fault.detail.ServiceFault.errorCode);
      done();
    }));
  }
}
main().catch((error) => { console.error(String(error)); process.exit(1); });
