// The messages by which a UPnP Internet Gateway Device is found and asked for a forwarded UDP port (UPnP Device Architecture 1.1,
// WANIPConnection:1 and :2, WANPPPConnection:1). Pure.
//
//   M-SEARCH (SSDP, UDP 1900)  ->  LOCATION: http://router:port/path
//   GET path                   ->  a description: devices in devices, and somewhere the service with its controlURL
//   POST controlURL (SOAP)     ->  GetExternalIPAddress, AddPortMapping, DeletePortMapping
//
// Of XML only what is needed here: elements by their local names and the text in them. No entities but the five of XML, no DTD; a
// document that is longer than its bound or nested oddly just has no service in it.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/net/addr.h"

namespace tunnel {

inline constexpr uint16_t kSsdpPort = 1900;
inline constexpr uint32_t kSsdpGroup = 0xEFFFFFFA;  // 239.255.255.250
inline constexpr size_t kSsdpBytesMax = 1500, kUpnpBodyBytesMax = 128 << 10;

struct UpnpPlace {  // of one document or control
  base::IpPort server;
  std::string path;
  bool operator==(const UpnpPlace&) const = default;
};

struct UpnpService {
  std::string type;  // urn:schemas-upnp-org:service:WANIPConnection:1
  UpnpPlace control;
};

std::string make_ssdp_search();
// The description's place in an answer; none: not an answer, or a location that is not http://<IPv4 address>.
std::optional<UpnpPlace> read_ssdp(std::string_view);
// The service that maps ports; its control must be at the server the description came from.
std::optional<UpnpService> read_description(std::string_view xml, const UpnpPlace& from);

struct UpnpMapping {
  uint16_t outside_port = 0, own_port = 0;
  base::IpAddr own;
  uint32_t lifetime = 0;  // seconds; 0: until taken away
};
std::string make_soap_get_address(const UpnpService&);
std::string make_soap_add(const UpnpService&, const UpnpMapping&);
std::string make_soap_delete(const UpnpService&, uint16_t outside_port);
std::string soap_action(const UpnpService&, std::string_view action);  // the SOAPAction field

struct UpnpAnswer {
  std::optional<base::IpAddr> address;  // of GetExternalIPAddress
  int error = 0;                        // UPnPError's code
};
UpnpAnswer read_soap(std::string_view xml);
const char* upnp_trouble(int error);  // in words

}  // namespace tunnel
