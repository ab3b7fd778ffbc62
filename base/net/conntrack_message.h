// One ctnetlink message as a value. Internal to base/net.
#pragma once
#include <optional>

#include "base/net/conntrack.h"

struct nlmsghdr;

namespace base::conntrack {

std::optional<Entry> parse(const nlmsghdr*);  // nullopt: neither TCP nor UDP

}  // namespace base::conntrack
