// Answers. A Body is the part of a message behind the question: rendered once, served many times. Names in it are compressed
// against the question (which starts at octet 12 of every message), so an owner repeats the asker's own upper and lower case.
#pragma once
#include "dns/wire/query.h"

namespace dns {

struct BodyView {
  base::ByteView octets;  // records behind the question; valid behind a question name of the same length
  uint16_t answers = 0, authority = 0, additional = 0;
  uint16_t rotate = 0;    // > 0: the answer section is `answers` records of this many octets each, which may be turned
};

struct Reply {
  Rcode rcode = Rcode::noerror;
  uint16_t flags = 0;        // AA, RA, AD: what this answer adds to QR and the copied RD, CD
  uint16_t udp_payload = 1232;  // what we advertise
  Ede ede = Ede::none;
  uint32_t turn = 0;         // how far rotating records are turned
};

// The largest answer this client takes over UDP: 512 without EDNS, else what it says, at most `most`.
size_t udp_limit(const Query&, size_t most);

// What write_reply puts behind the body.
size_t opt_size(const Query&, const Reply&);

// Writes header, question, body and OPT into out (at most limit octets in all). Records that do not fit are left out whole:
// additional ones silently, others with TC. Returns the size. out.size() >= limit >= 512. The body may not overlap out; the
// question may stand in its place there already, as when a query is answered where it was read.
size_t write_reply(const Query&, const Reply&, const BodyView&, size_t limit, base::MutByteView out);

// For a message whose question could not be read: header only.
size_t write_header_error(const Query&, Rcode, base::MutByteView out);

}  // namespace dns
