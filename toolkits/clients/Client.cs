// Mono: a proxy class by its wsdl tool, as .NET's.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;
using System.Web.Services.Protocols;

class Client {
    const string NS = "http://labwaiter.example/toolkit/";

    static string Enc(object value) {
        return Uri.EscapeDataString(Convert.ToString(value, CultureInfo.InvariantCulture) ?? "");
    }

    static void Main(string[] args) {
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false)) { AutoFlush = true };
        var proxy = new Toolkit { Url = args[0].Split('?')[0] };
        output.WriteLine("ready");
        for (string line; (line = Console.ReadLine()) != null; ) {
            var words = line.Split('\t');
            var given = new Dictionary<string, string>();
            string refused = null;
            for (int i = 1; i < words.Length; i++) {
                int at = words[i].IndexOf('=');
                if (at >= 0) given[words[i].Substring(0, at)] = Uri.UnescapeDataString(words[i].Substring(at + 1));
                else if (words[i] == "text!") refused = "its string is either there or left out, never nil";
                else given[words[i].TrimEnd('!')] = null;
            }
            string id = Get(given, "serviceID"), token = Get(given, "sessionToken"), text = Get(given, "text");
            int parsed = 0;
            string count = Get(given, "count");
            if (count != null && !int.TryParse(count, out parsed)) refused = "its int holds numbers only";
            if (refused != null) {
                output.WriteLine("refused\t" + Enc(refused));
                continue;
            }
            string echo = null, status;
            int number = 0;
            double ratio = 0;
            bool held = false;
            try {
                if (words[0] == "abort") {
                    output.WriteLine("ok\tsuccess=" + (proxy.abortService(id, token) ? "true" : "false"));
                } else if (words[0] == "notify") {
                    output.WriteLine("ok\tresponse=" + Enc(proxy.notifyService(token, id, Get(given, "message"))));
                } else {
                    if (words[0] == "start") {
                        status = proxy.startToolkit(id, token, text, count == null ? (int?)null : parsed, given.ContainsKey("count"),
                            Get(given, "hold") == "true", given.ContainsKey("hold"), null, out echo, out number, out ratio, out held);
                    } else {
                        status = proxy.getServiceStatus(id, token, out echo, out number, out ratio, out held);
                    }
                    output.WriteLine("ok\tstatus_base64=" + Enc(status) + "\techo=" + Enc(echo) + "\tnumber=" + Enc(number) +
                        "\tratio=" + Enc(ratio) + "\theld=" + (held ? "true" : "false"));
                }
            } catch (SoapException fault) {
                var detail = fault.Detail == null ? null : fault.Detail["ServiceFault", NS];
                if (detail == null) output.WriteLine("error\t" + Enc(fault));
                else output.WriteLine("fault\ttyped\t" + Enc(detail["errorCode", NS].InnerText) + "\t" + Enc(detail["description", NS].InnerText));
            } catch (Exception error) {
                output.WriteLine("error\t" + Enc(error));
            }
        }
    }

    static string Get(Dictionary<string, string> given, string name) {
        string value;
        return given.TryGetValue(name, out value) ? value : null;
    }
}
