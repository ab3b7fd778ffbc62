// How one upstream server is reached: over UDP and TCP, TLS (RFC 7858) or HTTPS (RFC 8484).
#pragma once
#include <string>

#include "base/net/addr.h"

namespace dns {

struct ServerAddress {
  enum class Kind : uint8_t { plain, tls, https } kind = Kind::plain;
  base::IpPort at;
  std::string name;  // its certificate's; "": the certificate is for the address
  std::string path;  // https
  ServerAddress() = default;
  ServerAddress(const base::IpPort& p) : at(p) {}
  ServerAddress(Kind k, const base::IpPort& p, std::string n, std::string pa) : kind(k), at(p), name(std::move(n)), path(std::move(pa)) {}
  bool is_secure() const { return kind != Kind::plain; }
  std::string text() const {
    if (!is_secure()) return at.str();
    return (kind == Kind::tls ? "tls://" : "https://") + at.str() + path + (name.empty() ? "" : "#" + name);
  }
  bool operator==(const ServerAddress&) const = default;
};

}  // namespace dns
