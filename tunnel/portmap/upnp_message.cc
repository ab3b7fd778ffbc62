#include "tunnel/portmap/upnp_message.h"

#include <fmt/core.h>

#include <cctype>
#include <charconv>

namespace tunnel {
namespace {
constexpr size_t kUrlMax = 1024, kElementsMax = 4096;
constexpr std::string_view kServices[] = {"urn:schemas-upnp-org:service:WANIPConnection:2",
                                          "urn:schemas-upnp-org:service:WANIPConnection:1",
                                          "urn:schemas-upnp-org:service:WANPPPConnection:1"};

bool same_nocase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return std::tolower(uint8_t(x)) == std::tolower(uint8_t(y)); });
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && std::isspace(uint8_t(s.front()))) s.remove_prefix(1);
  while (!s.empty() && std::isspace(uint8_t(s.back()))) s.remove_suffix(1);
  return s;
}

bool is_path(std::string_view s) {
  if (s.empty() || s[0] != '/' || s.size() > kUrlMax) return false;
  for (char c : s)
    if (uint8_t(c) <= ' ' || uint8_t(c) >= 0x7f) return false;
  return true;
}

// http://<IPv4 address>[:port][/path]; names are not looked up for a router.
std::optional<UpnpPlace> read_url(std::string_view url) {
  if (url.size() > kUrlMax || !same_nocase(url.substr(0, 7), "http://")) return std::nullopt;
  url.remove_prefix(7);
  const size_t slash = std::min(url.find('/'), url.size());
  std::string_view host = url.substr(0, slash), path = url.substr(slash);
  auto server = host.find(':') == host.npos ? base::IpPort::parse(std::string(host) + ":80") : base::IpPort::parse(host);
  if (!server || !server->ip.is_v4() || server->port == 0) return std::nullopt;
  if (path.empty()) path = "/";
  if (!is_path(path)) return std::nullopt;
  return UpnpPlace{*server, std::string(path)};
}

std::string unescaped(std::string_view s) {
  static constexpr std::pair<std::string_view, char> kEntities[] = {
      {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  std::string out;
  for (size_t i = 0; i < s.size();) {
    size_t took = 1;
    char c = s[i];
    for (auto& [text, is] : kEntities)
      if (s.substr(i).starts_with(text)) took = text.size(), c = is;
    out += c;
    i += took;
  }
  return out;
}

// Walks over elements: open(name) at each start tag, text(name, text) at each end tag with the text since the last tag. Attributes,
// comments and declarations are passed over.
template <class Open, class Text>
void walk(std::string_view xml, Open open, Text text) {
  size_t at = 0, since = 0;
  for (size_t n = 0; n < kElementsMax; n++) {
    const size_t start = xml.find('<', at);
    if (start == xml.npos) return;
    const bool comment = xml.substr(start).starts_with("<!--");
    const size_t end = xml.find(comment ? "-->" : ">", start);
    if (end == xml.npos) return;
    at = end + (comment ? 3 : 1);
    std::string_view tag = xml.substr(start + 1, end - start - 1);
    if (comment || tag.empty() || tag[0] == '?' || tag[0] == '!') continue;
    const bool closing = tag[0] == '/';
    if (closing) tag.remove_prefix(1);
    const bool empty = !tag.empty() && tag.back() == '/';
    if (empty) tag.remove_suffix(1);
    std::string_view name = tag.substr(0, tag.find_first_of(" \t\r\n"));
    if (const size_t colon = name.find(':'); colon != name.npos) name.remove_prefix(colon + 1);
    if (closing) text(name, trimmed(xml.substr(since, start - since)));
    else if (!empty) open(name);
    since = at;
  }
}

std::string envelope(const UpnpService& s, std::string_view action, const std::string& arguments) {
  return fmt::format(
      "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "
      "s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{0} xmlns:u=\"{1}\">{2}</u:{0}></s:Body></s:Envelope>\r\n",
      action, s.type, arguments);
}
}  // namespace

// ---- SSDP

std::string make_ssdp_search() {
  return "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n"
         "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";
}

std::optional<UpnpPlace> read_ssdp(std::string_view m) {
  if (m.size() > kSsdpBytesMax || !m.starts_with("HTTP/1.1 200")) return std::nullopt;
  for (size_t at = m.find('\n'); at != m.npos && at + 1 < m.size();) {
    const size_t end = std::min(m.find('\n', at + 1), m.size());
    std::string_view line = m.substr(at + 1, end - at - 1);
    at = end;
    const size_t colon = line.find(':');
    if (colon != line.npos && same_nocase(trimmed(line.substr(0, colon)), "location")) return read_url(trimmed(line.substr(colon + 1)));
  }
  return std::nullopt;
}

// ---- the description

std::optional<UpnpService> read_description(std::string_view xml, const UpnpPlace& from) {
  if (xml.size() > kUpnpBodyBytesMax) return std::nullopt;
  std::string base, type, control;
  std::optional<UpnpService> best;
  size_t best_rank = std::size(kServices);
  walk(
      xml,
      [&](std::string_view name) {
        if (name == "service") type.clear(), control.clear();
      },
      [&](std::string_view name, std::string_view text) {
        if (name == "URLBase") base = unescaped(text);
        if (name == "serviceType") type = std::string(text);
        if (name == "controlURL") control = unescaped(text);
        if (name != "service") return;
        const size_t rank = size_t(std::find(std::begin(kServices), std::end(kServices), type) - std::begin(kServices));
        if (rank >= best_rank) return;
        std::optional<UpnpPlace> place;
        if (control.find("://") != control.npos) place = read_url(control);
        else if (auto root = base.empty() ? std::optional(from) : read_url(base))
          place = UpnpPlace{root->server, control.starts_with('/') ? control : "/" + control};
        if (!place || place->server.ip != from.server.ip || !is_path(place->path)) return;
        best_rank = rank;
        best = UpnpService{type, *place};
      });
  return best;
}

// ---- SOAP

std::string soap_action(const UpnpService& s, std::string_view action) { return fmt::format("\"{}#{}\"", s.type, action); }
std::string make_soap_get_address(const UpnpService& s) { return envelope(s, "GetExternalIPAddress", ""); }
std::string make_soap_add(const UpnpService& s, const UpnpMapping& m) {
  return envelope(s, "AddPortMapping",
                  fmt::format("<NewRemoteHost></NewRemoteHost><NewExternalPort>{}</NewExternalPort><NewProtocol>UDP</NewProtocol>"
                              "<NewInternalPort>{}</NewInternalPort><NewInternalClient>{}</NewInternalClient><NewEnabled>1</NewEnabled>"
                              "<NewPortMappingDescription>edgemeshd</NewPortMappingDescription><NewLeaseDuration>{}</NewLeaseDuration>",
                              m.outside_port, m.own_port, m.own.str(), m.lifetime));
}
std::string make_soap_delete(const UpnpService& s, uint16_t outside_port) {
  return envelope(
      s, "DeletePortMapping",
      fmt::format("<NewRemoteHost></NewRemoteHost><NewExternalPort>{}</NewExternalPort><NewProtocol>UDP</NewProtocol>", outside_port));
}

UpnpAnswer read_soap(std::string_view xml) {
  UpnpAnswer a;
  if (xml.size() > kUpnpBodyBytesMax) return a;
  walk(
      xml, [](std::string_view) {},
      [&](std::string_view name, std::string_view text) {
        if (name == "NewExternalIPAddress") {
          auto ip = base::IpAddr::parse(text);
          if (ip && ip->is_v4() && !ip->is_any()) a.address = ip;
        }
        if (name == "errorCode") std::from_chars(text.data(), text.data() + text.size(), a.error);
      });
  return a;
}

const char* upnp_trouble(int error) {
  switch (error) {
    case 401:
      return "it does not know the action";
    case 402:
      return "it does not take the arguments";
    case 501:
      return "the action failed there";
    case 606:
      return "it does not allow this node";
    case 718:
      return "the ports are taken";
    case 725:
      return "it keeps mappings for ever only";
    case 728:
      return "it has no room for more";
    default:
      return "an error of its own";
  }
}

}  // namespace tunnel
