// gSOAP in its default mode: a proxy class by wsdl2h and soapcpp2, the fault as a class in the detail.
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include "Toolkit.nsmap"
#include "soapToolkitProxy.h"

using std::string;

static string encoded(const string &text) {
    static const char *digits = "0123456789ABCDEF";
    string out;
    for (unsigned char c : text) {
        if (isalnum(c)) out += c;
        else (out += '%') += digits[c >> 4], out += digits[c & 15];
    }
    return out;
}

static string decoded(const string &text) {
    string out;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '%') out += (char)std::stoi(text.substr(i + 1, 2), nullptr, 16), i += 2;
        else out += text[i];
    }
    return out;
}

template <class Response> static string outputs(const Response &r) {
    std::ostringstream out;
    out << "ok\tstatus_base64=" << encoded(r.status_USCOREbase64) << "\techo=" << encoded(r.echo) << "\tnumber=" << r.number
        << "\tratio=" << r.ratio << "\theld=" << (r.held ? "true" : "false");
    return out.str();
}

static string fault(ToolkitProxy &proxy) {
    soap *s = proxy.soap;
    if (s->fault && s->fault->detail && s->fault->detail->ns1__ServiceFault_) {
        ns1__ServiceFault *f = s->fault->detail->ns1__ServiceFault_;
        return "fault\ttyped\t" + encoded(f->errorCode) + "\t" + encoded(f->description);
    }
    std::ostringstream out;
    soap_stream_fault(s, out);
    return "error\t" + encoded(out.str());
}

int main(int, char **argv) {
    soap *context = soap_new1(SOAP_C_UTFSTRING);
    ToolkitProxy proxy(context);
    string address = argv[1];
    address = address.substr(0, address.find('?'));
    proxy.soap_endpoint = address.c_str();
    std::cout << "ready" << std::endl;
    for (string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        string operation, word, refused;
        std::getline(words, operation, '\t');
        std::map<string, string> given;
        bool nil = false;
        while (std::getline(words, word, '\t')) {
            size_t at = word.find('=');
            if (at == string::npos) nil = nil || word == "text!";
            else given[word.substr(0, at)] = decoded(word.substr(at + 1));
        }
        if (nil) refused = "its string is always there, never nil";
        else if (operation == "start" && !given.count("text")) refused = "its string is always there";
        else if (given.count("count") && given["count"].find_first_not_of("-0123456789") + 1 + given["count"].empty())
            refused = "its int holds numbers only";
        if (!refused.empty()) {
            std::cout << "refused\t" << encoded(refused) << std::endl;
            continue;
        }
        string said;
        if (operation == "start") {
            ns1__startToolkit call;
            call.serviceID = given["serviceID"], call.sessionToken = given["sessionToken"], call.text = given["text"];
            int count = 0;
            bool hold = given.count("hold") && given["hold"] == "true";
            if (given.count("count")) count = std::stoi(given["count"]), call.count = &count;
            if (given.count("hold")) call.hold = &hold;
            ns1__startToolkitResponse response;
            said = proxy.startToolkit(&call, response) == SOAP_OK ? outputs(response) : fault(proxy);
        } else if (operation == "status") {
            ns1__getServiceStatus call;
            call.serviceID = given["serviceID"], call.sessionToken = given["sessionToken"];
            ns1__getServiceStatusResponse response;
            said = proxy.getServiceStatus(&call, response) == SOAP_OK ? outputs(response) : fault(proxy);
        } else if (operation == "abort") {
            ns1__abortService call;
            call.serviceID = given["serviceID"], call.sessionToken = given["sessionToken"];
            ns1__abortServiceResponse response;
            said = proxy.abortService(&call, response) == SOAP_OK
                       ? string("ok\tsuccess=") + (response.success ? "true" : "false")
                       : fault(proxy);
        } else {
            ns1__notifyService call;
            call.serviceID = given["serviceID"], call.sessionToken = given["sessionToken"], call.message = given["message"];
            ns1__notifyServiceResponse response;
            said = proxy.notifyService(&call, response) == SOAP_OK ? "ok\tresponse=" + encoded(response.response) : fault(proxy);
        }
        std::cout << said << std::endl;
    }
}
