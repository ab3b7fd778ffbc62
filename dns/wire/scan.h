// Reading answers of others: one bounded walk that says where each TTL is, how long the answer may be kept and whether it fits
// the question. Nothing is decoded that is not needed; unknown types stay as they are (RFC 3597).
#pragma once
#include <functional>
#include <vector>

#include "dns/wire/name.h"

namespace dns {

struct Scan {
  uint16_t flags = 0;
  Rcode rcode = Rcode::noerror;
  size_t question_end = 0;
  size_t size = 0;  // of the message without its OPT and what follows that
  uint16_t answers = 0, authority = 0, additional = 0;  // without OPT
  uint32_t ttl_min = UINT32_MAX;     // over answer and authority (UINT32_MAX: no record)
  uint32_t negative_ttl = UINT32_MAX;  // min(SOA TTL, SOA minimum) of the authority section, RFC 2308 §5
  std::vector<uint16_t> ttl_at;      // offsets of every TTL in front of `size`
  size_t additional_at = 0;          // where the additional section begins
  bool truncated() const { return flags & flag::TC; }
  void drop_additional();            // what is left is a message of `size` octets
};

// False: not a whole, well-formed answer with one uncompressed question.
bool scan_answer(base::ByteView message, Scan& out);

// True if the message asks this question; the name is compared ignoring case.
bool question_is(base::ByteView message, base::ByteView name, uint16_t type, uint16_t klass);

struct Record {
  Name owner;
  uint16_t type = 0, klass = 0;
  uint32_t ttl = 0;
  size_t data_at = 0, data_size = 0;  // in the message
};
// Visits the records of the answer section of a scanned message; the visitor returns false to stop. False: malformed.
bool each_answer(base::ByteView message, const std::function<bool(const Record&)>&);
bool each_authority(base::ByteView message, const std::function<bool(const Record&)>&);

// Takes `age` seconds off the TTL at this offset; it stops at 0.
void age_ttl(base::MutByteView message, size_t ttl_at, uint32_t age);

}  // namespace dns
