// Messages for people: records as in a zone file (RFC 1035 §5.1); what is not known by name as TYPE99 and \# 2 0a0b (RFC 3597).
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/core/bytes.h"
#include "dns/wire/types.h"

namespace dns {

std::string type_text(uint16_t);
std::optional<uint16_t> type_from_text(std::string_view);  // "A", "aaaa", "TYPE65"
std::string rcode_text(uint16_t);

struct RecordText {
  std::string name, type, data;
  uint32_t ttl = 0;
};
struct MessageText {
  std::string status;              // NOERROR, …
  std::vector<std::string> flags;  // aa tc rd ra ad cd
  std::vector<RecordText> answer, authority, additional;
  int ede = -1;                    // RFC 8914
};
std::optional<MessageText> message_text(base::ByteView);  // nothing: not a whole message

}  // namespace dns
