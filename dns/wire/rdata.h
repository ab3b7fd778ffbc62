// What a record holds, without pointers into the message it came in.
#pragma once
#include "dns/wire/scan.h"

namespace dns {

// Names in records of types that may be compressed (RFC 3597 §4: those of RFC 1035, and SRV) are written out; other records are as
// they are. None: malformed.
std::optional<base::ByteVec> plain_rdata(base::ByteView message, const Record&);

}  // namespace dns
