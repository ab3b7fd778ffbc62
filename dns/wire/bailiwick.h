// Whether an answer keeps to its question: what it says belongs to the asked name or to one that name leads to by CNAME or DNAME, and
// what it says about authority belongs above them. Records about other names are how caches are poisoned.
#pragma once
#include "dns/wire/scan.h"

namespace dns {

// For a message scan_answer() took.
bool keeps_to_question(base::ByteView message);

bool is_within(std::string_view key, std::string_view zone_key);  // lowered wire names; a zone is within itself

}  // namespace dns
