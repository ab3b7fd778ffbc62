// A SecureChannel for simulations: three flights like TLS 1.3, a secret from the seeds of both sides, no cryptographic
// protection at all. The same seeds give the same bytes.
#pragma once
#include "base/core/rng.h"
#include "tunnel/session/secure_channel.h"

namespace tunnel {

Digest sim_leaf(const base::NodeIdentity&);  // stands for the hash of its certificate
std::unique_ptr<SecureChannel> make_sim_channel(bool client, base::NodeIdentity own, base::Rng&);

}  // namespace tunnel
