"""A router's UPnP-IGD: answers M-SEARCH on UDP 1900, serves its description and WANIPConnection:1 on TCP 5000 of its LAN address, and
keeps the mappings in the box's nft map `pmp`. upnp_server.py PUBLIC_IP LAN_IP"""
import http.server
import re
import socket
import sys
import threading

from pmp_server import Mappings

PORT = 5000
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DESCRIPTION = f"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<deviceList><device><deviceList><device><serviceList><service><serviceType>{SERVICE}</serviceType>
<serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><controlURL>/ctl</controlURL><SCPDURL>/scpd.xml</SCPDURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>"""


def envelope(action, inside):
    return (f'<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<u:{action}Response xmlns:u="{SERVICE}">{inside}</u:{action}Response></s:Body></s:Envelope>')


def searches(lan):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 1900))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.255.255.250") + socket.inet_aton(lan))
    while True:
        d, who = s.recvfrom(1500)
        if d.startswith(b"M-SEARCH"):
            s.sendto(f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
                     f"LOCATION: http://{lan}:{PORT}/root.xml\r\n\r\n".encode(), who)


def handler(public):
    mappings = Mappings()

    class Gateway(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def say(self, status, text):
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.say(200, DESCRIPTION)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            action = self.headers["SOAPAction"].strip('"').split("#")[1]
            arguments = dict(re.findall(r"<(New\w+)>([^<]*)</", body))
            if action == "GetExternalIPAddress":
                return self.say(200, envelope(action, f"<NewExternalIPAddress>{public}</NewExternalIPAddress>"))
            proto, outer = arguments["NewProtocol"].lower(), int(arguments["NewExternalPort"])
            if action == "DeletePortMapping":
                mappings.nft("delete", f"{proto} . {outer}")
                return self.say(200, envelope(action, ""))
            mappings.nft("delete", f"{proto} . {outer}")
            life = int(arguments["NewLeaseDuration"]) or 86400
            mappings.nft("add", f"{proto} . {outer} timeout {life}s : {arguments['NewInternalClient']} . {arguments['NewInternalPort']}")
            return self.say(200, envelope(action, ""))

        def log_message(self, *_):
            pass

    return Gateway


def main():
    public, lan = sys.argv[1:]
    threading.Thread(target=searches, args=(lan,), daemon=True).start()
    server = http.server.ThreadingHTTPServer((lan, PORT), handler(public))
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
