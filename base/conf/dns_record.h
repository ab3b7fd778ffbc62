// One record of a zone as configuration writes it: "<name> [<ttl>] [IN] <type> <data>...", as in a zone file. Read and checked here,
// so that a mistake is reported with its line; dns/ makes octets of it. Names are relative to the zone unless they end in a dot;
// "@" is the zone itself, "*" in front stands for whatever is not there.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"

namespace base::conf {

struct DnsRecord {
  std::string name, type;         // type: A, AAAA, CNAME, MX, NS, PTR, SRV, TXT
  std::optional<uint32_t> ttl;
  std::vector<std::string> data;  // as many words as the type has; numbers are in range, addresses and names are ones
};
Result<DnsRecord> parse_dns_record(std::string_view line);

// "" or what is wrong; underscores allowed, a final dot too.
std::string dns_name_trouble(std::string_view name);

}  // namespace base::conf
