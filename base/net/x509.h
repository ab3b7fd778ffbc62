// What a certificate says, whoever issued it: for messages, tools and peers that are not nodes (API servers, clients). Reading
// verifies nothing. Who a node is and what it may claim is read by node_cert.h.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/net/node_cert.h"

namespace base {

struct CertificateInfo {
  std::string common_name;  // of the subject, UTF-8; empty when there is none
  std::vector<std::string> uris, dns_names;
  std::vector<IpAddr> ips;
  WallTime not_before, not_after;
  std::string serial;       // hex, without leading zeros
  Sha256 spki_sha256{};
  bool is_ca = false;
  std::map<std::string, ByteVec> other_extensions;  // dotted OID → value, of those BoringSSL has no name for
};

Result<CertificateInfo> parse_certificate(ByteView der);
// The first certificate of a PEM text; place (a file's name) begins the error.
Result<CertificateInfo> parse_certificate_pem(std::string_view pem, const std::string& place);

}  // namespace base
