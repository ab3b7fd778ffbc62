// What `edgemeshctl ca …` does, apart from reading its command line: parsed options in, the text to print out. Text options
// are checked here, so that every mistake gets one line with its option's name.
#pragma once
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/core/rng.h"
#include "base/core/time.h"

namespace cloud {

struct CaInitArgs {
  std::string dir;           // --dir
  std::string trust_domain;  // --trust-domain
  std::string overlay;       // --overlay, IPv4 range; empty: 100.64.0.0/10
};

struct CaIssueArgs {
  std::string dir;                     // --dir
  std::string node;                    // positional
  std::string out;                     // --out; empty: ./<node>
  std::vector<std::string> overlay;    // --overlay, repeated
  std::vector<std::string> pod_cidrs;  // --pod-cidr, repeated
  std::vector<std::string> roles;      // --role, repeated
  int days = 90;                       // --days
  bool renew = false;                  // --renew
  bool json = false;                   // -o json
};

struct CaDenyArgs {
  std::string dir;   // --dir
  std::string what;  // positional: a node name, or the path of a certificate (contains '/' or ends in .crt or .pem)
};

base::Result<std::string> ca_init(const CaInitArgs&, base::Rng&, base::WallTime now);
base::Result<std::string> ca_issue(const CaIssueArgs&, base::Rng&, base::WallTime now);
base::Result<std::string> ca_deny(const CaDenyArgs&, base::Rng&, base::WallTime now);

}  // namespace cloud
