// Policy chains: for each way to draw a slot, one chain that loads the key, draws, looks the endpoint up and rewrites.
#pragma once
#include "base/net/nft.h"
#include "edgemesh/intercept/intercept.h"

namespace edgemesh::detail {

struct PolicyChain {
  base::Family family;
  bool node_port;          // the key's address is the any-address instead of the packet's
  const Frontend& frontend;
  uint32_t modulus;
  int counter;             // round robin
  uint32_t affinity_s;     // 0: none
};

std::string chain_name(const PolicyChain&);
void add_policy_rules(base::nft::Batch&, const std::string& chain, const PolicyChain&, const InterceptConfig&);

}  // namespace edgemesh::detail
