// Probe: one look at one endpoint as an operator configured it: does it take a TCP connection, or how does it answer a GET. The
// connection carries the daemon's mark, so it goes to the endpoint that is meant and never through our own interception. Of an HTTP
// answer only the head is read. Control loop only.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop/loop.h"
#include "base/net/addr.h"
#include "lb/health/outlier.h"

namespace edgemesh {

struct StatusRange {
  int from = 200, to = 399;
  bool operator==(const StatusRange&) const = default;
};

struct ProbeSpec {
  enum class Kind : uint8_t { tcp, http };
  Kind kind = Kind::tcp;
  std::string path = "/";
  std::string host;  // of the Host field
  std::vector<StatusRange> good = {StatusRange{}};
  base::Duration interval = std::chrono::seconds(5), timeout = std::chrono::seconds(1);
  lb::OutlierDetector::Thresholds thresholds;
  bool operator==(const ProbeSpec&) const = default;
};

struct ProbeOutcome {
  enum class Kind : uint8_t { well, failed, told_nothing };  // the last: a trouble of this host's own
  Kind kind = Kind::well;
  lb::Sign sign = lb::Sign::unanswered;  // of a failure
  std::string detail;                    // of one that was answered: "GET /healthz: status 503"
};

class Probe {
 public:
  virtual ~Probe() = default;  // cancels
};

// done comes once, from the loop, within spec.timeout; it may drop the probe. spec outlives the probe.
std::unique_ptr<Probe> start_probe(base::Loop&, uint32_t socket_mark, const base::IpPort&, const ProbeSpec&,
                                   std::function<void(ProbeOutcome)> done);

}  // namespace edgemesh
