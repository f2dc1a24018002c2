// JAX-WS RI: classes by wsimport, a typed exception for the fault.
import gen.*;
import java.io.*;
import java.net.*;
import java.util.*;
import javax.xml.ws.Holder;

public class Client {
    static String enc(Object value) throws Exception {
        return URLEncoder.encode(String.valueOf(value), "UTF-8").replace("+", "%20");
    }

    static Integer number(String text) {
        return text == null ? null : Integer.valueOf(text);
    }

    public static void main(String[] args) throws Exception {
        Toolkit port = new Toolkit_Service(new URL(args[0])).getToolkit();
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        out.println("ready");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split("\t");
            Map<String, String> given = new HashMap<>();
            String refused = null;
            for (int i = 1; i < words.length; i++) {
                String[] pair = words[i].split("=", 2);
                if (pair.length == 1 && pair[0].equals("text!")) refused = "its String is either there or left out, never nil";
                if (pair.length == 2) given.put(pair[0], URLDecoder.decode(pair[1].replace("+", "%2B"), "UTF-8"));
            }
            String count = given.get("count");
            if (count != null && !count.matches("-?\\d+")) refused = "its Integer holds numbers only";
            if (refused != null) {
                out.println("refused\t" + enc(refused));
                continue;
            }
            Holder<String> status = new Holder<>(), echo = new Holder<>();
            Holder<Integer> number = new Holder<>();
            Holder<Double> ratio = new Holder<>();
            Holder<Boolean> held = new Holder<>();
            String id = given.get("serviceID"), token = given.get("sessionToken");
            try {
                if (words[0].equals("abort")) {
                    out.println("ok\tsuccess=" + port.abortService(id, token));
                } else if (words[0].equals("notify")) {
                    out.println("ok\tresponse=" + enc(port.notifyService(token, id, given.get("message"))));
                } else {
                    if (words[0].equals("start")) {
                        Boolean hold = given.containsKey("hold") ? Boolean.valueOf(given.get("hold")) : null;
                        port.startToolkit(id, token, given.get("text"), number(count), hold, null, status, echo, number, ratio, held);
                    } else {
                        port.getServiceStatus(id, token, status, echo, number, ratio, held);
                    }
                    out.println("ok\tstatus_base64=" + enc(status.value) + "\techo=" + enc(echo.value) + "\tnumber=" + number.value
                            + "\tratio=" + ratio.value + "\theld=" + held.value);
                }
            } catch (ServiceFault_Exception fault) {
                ServiceFault info = fault.getFaultInfo();
                out.println("fault\ttyped\t" + enc(info.getErrorCode()) + "\t" + enc(info.getDescription()));
            } catch (Exception error) {
                out.println("error\t" + enc(error));
            }
        }
    }
}
