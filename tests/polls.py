"""Polls as toolkits write them, and what else may come instead of one."""

from __future__ import annotations

from callers import NS, SOAP_11
from labwaiter.wsgi import Application

XSI, XSD = "http://www.w3.org/2001/XMLSchema-instance", "http://www.w3.org/2001/XMLSchema"
UTF_8 = '<?xml version="1.0" encoding="UTF-8"?>'
# the form of each: {0} stands for the serviceID, {1} for the token
TOOLKITS = {
    "suds": (
        f'{UTF_8}<SOAP-ENV:Envelope xmlns:ns0="{NS}" xmlns:ns1="{SOAP_11}" xmlns:xsi="{XSI}"'
        f' xmlns:SOAP-ENV="{SOAP_11}"><SOAP-ENV:Header/><ns1:Body><ns0:getServiceStatus><ns0:serviceID>{{0}}'
        "</ns0:serviceID><ns0:sessionToken>{1}</ns0:sessionToken></ns0:getServiceStatus></ns1:Body></SOAP-ENV:Envelope>"
    ),
    "zeep": (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        f'<soap-env:Envelope xmlns:soap-env="{SOAP_11}"><soap-env:Body><ns0:getServiceStatus xmlns:ns0="{NS}">'
        "<ns0:serviceID>{0}</ns0:serviceID><ns0:sessionToken>{1}</ns0:sessionToken></ns0:getServiceStatus>"
        "</soap-env:Body></soap-env:Envelope>"
    ),
    "a default namespace, the token first": (
        f'<Envelope xmlns="{SOAP_11}">\n  <Body>\n    <getServiceStatus xmlns="{NS}">\n      <sessionToken>{{1}}'
        "</sessionToken>\n      <serviceID >{0}</serviceID >\n    </getServiceStatus>\n  </Body>\n</Envelope>\n"
    ),
    "types on its values": (
        f'<s:Envelope xmlns:s="{SOAP_11}" xmlns:i="{XSI}" xmlns:x="{XSD}" s:encodingStyle=""><s:Body>'
        f'<t:getServiceStatus xmlns:t="{NS}"><t:serviceID i:type="x:string">{{0}}</t:serviceID>'
        '<t:sessionToken i:type="x:string">{1}</t:sessionToken></t:getServiceStatus></s:Body></s:Envelope>'
    ),
    "gSOAP": (
        f'{UTF_8}\n<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_11}"'
        f' xmlns:SOAP-ENC="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsi="{XSI}" xmlns:xsd="{XSD}"'
        f' xmlns:ns1="{NS}"><SOAP-ENV:Body><ns1:getServiceStatus><ns1:serviceID>{{0}}</ns1:serviceID>'
        "<ns1:sessionToken>{1}</ns1:sessionToken></ns1:getServiceStatus></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    ),
    "PHP": (
        f'{UTF_8}\n<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_11}" xmlns:ns1="{NS}"><SOAP-ENV:Body>'
        "<ns1:getServiceStatus><ns1:sessionToken>{1}</ns1:sessionToken><ns1:serviceID>{0}</ns1:serviceID>"
        "</ns1:getServiceStatus></SOAP-ENV:Body></SOAP-ENV:Envelope>\n"
    ),
    "JAX-WS": (
        f"<?xml version='1.0' encoding='UTF-8'?><S:Envelope xmlns:S=\"{SOAP_11}\"><S:Body>"
        f'<ns2:getServiceStatus xmlns:ns2="{NS}"><ns2:serviceID>{{0}}</ns2:serviceID><ns2:sessionToken>{{1}}'
        "</ns2:sessionToken></ns2:getServiceStatus></S:Body></S:Envelope>"
    ),
    "node": (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{SOAP_11}" xmlns:xsi="{XSI}"'
        f' xmlns:tns="{NS}"><soap:Body><tns:getServiceStatus xmlns:tns="{NS}" xmlns="{NS}"><tns:serviceID>{{0}}'
        "</tns:serviceID><tns:sessionToken>{1}</tns:sessionToken></tns:getServiceStatus></soap:Body></soap:Envelope>"
    ),
    "mono": (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:xsi="{XSI}" xmlns:xsd="{XSD}"'
        f' xmlns:soap="{SOAP_11}"><soap:Body><getServiceStatus xmlns="{NS}"><sessionToken>{{1}}</sessionToken>'
        "<serviceID>{0}</serviceID></getServiceStatus></soap:Body></soap:Envelope>"
    ),
    "SOAP::Lite": (
        f'{UTF_8}<soap:Envelope soap:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/" xmlns:soap="{SOAP_11}"'
        f' xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsd="{XSD}" xmlns:xsi="{XSI}"><soap:Body>'
        f'<getServiceStatus xmlns="{NS}"><serviceID xsi:type="xsd:string">{{0}}</serviceID>'
        '<sessionToken xsi:type="xsd:string">{1}</sessionToken></getServiceStatus></soap:Body></soap:Envelope>'
    ),
}


def kept_answers(application: Application) -> int:
    """How many polls it has answered by what its lane had kept."""
    endpoints = application._soap._endpoints.values()
    return sum(form.answered for endpoint in endpoints for form in endpoint.forms._forms)
