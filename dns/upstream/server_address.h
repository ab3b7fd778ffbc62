// How one upstream server is reached: over UDP and TCP, TLS (RFC 7858) or HTTPS (RFC 8484); or, instead of a server, everybody on some
// interfaces, by multicast (RFC 6762).
#pragma once
#include <string>

#include "base/net/addr.h"

namespace dns {

struct ServerAddress {
  enum class Kind : uint8_t { plain, tls, https, mdns } kind = Kind::plain;
  base::IpPort at;
  std::string name;  // its certificate's; "": the certificate is for the address. mdns: interfaces, with commas between
  std::string path;  // https
  ServerAddress() = default;
  ServerAddress(const base::IpPort& p) : at(p) {}
  ServerAddress(Kind k, const base::IpPort& p, std::string n, std::string pa) : kind(k), at(p), name(std::move(n)), path(std::move(pa)) {}
  bool is_secure() const { return kind == Kind::tls || kind == Kind::https; }
  std::string text() const {
    if (kind == Kind::mdns) return "mdns://" + name;
    if (!is_secure()) return at.str();
    return (kind == Kind::tls ? "tls://" : "https://") + at.str() + path + (name.empty() ? "" : "#" + name);
  }
  bool operator==(const ServerAddress&) const = default;
};

}  // namespace dns
