// Every bound in one place, with its reason. A bound that is reached is counted and named in a log line.
#pragma once
#include <chrono>
#include <cstddef>

namespace base::limits {

// Objects and manifests
inline constexpr size_t kManifestBytesMax = 8 << 20;      // one file; the largest CRD bundles are ~3 MiB
inline constexpr size_t kManifestDocumentsMax = 20'000;   // documents in one file
inline constexpr size_t kYamlDepthMax = 64;
inline constexpr size_t kYamlAliasExpansionMax = 100'000;  // nodes after aliases ("billion laughs")
inline constexpr size_t kYamlNodesMax = 1'000'000;          // values in one document
inline constexpr size_t kManifestFilesMax = 20'000;         // files under one source directory
inline constexpr size_t kApiObjectBytesMax = 8 << 20;       // one object or watch event as JSON; API servers store 1.5 MiB at most
inline constexpr size_t kApiListBytesMax = 256 << 20;       // one list, all pages; ten times 100,000 endpoints
inline constexpr size_t kApiObjectsMax = 100'000;           // of one kind
inline constexpr size_t kSnapshotBytesMax = 64 << 20;       // the file of all objects; 5,000 services take 2 MiB

// Kernel tables (docs/architecture.md, interception)
inline constexpr size_t kEndpointsPerPortMax = 500;       // more than the 1021-slot class can spread fairly
inline constexpr size_t kRoundRobinChains = 256;
inline constexpr size_t kRoundRobinChainsPerMap = 32;     // an element of a map is checked against every chain that looks it up

// Tunnel
inline constexpr size_t kExportsPerPeerMax = 256;
inline constexpr size_t kHalfOpenHandshakesMax = 64;
inline constexpr size_t kCandidatesPerPeerMax = 24;
inline constexpr size_t kQueuedBytesPerPeerMax = 256 << 10;  // while a session is being made
inline constexpr size_t kSignalMessageBytesMax = 64 << 10;
inline constexpr size_t kControlMessageBytesMax = 1100;       // one CONTROL datagram at inner MTU 1280
inline constexpr size_t kPeersMax = 4096;

// First contact
inline constexpr size_t kProxyConnectionsMax = 8192;
inline constexpr size_t kHeldDatagramsPerFlowMax = 64;
inline constexpr std::chrono::milliseconds kHeldDatagramAgeMax{1000};

// Endpoint failure
inline constexpr size_t kOutliersMax = 4096;              // endpoints something bad is known about; evidence about more is dropped
inline constexpr size_t kEndpointChecksMax = 64;          // connects of our own at once
inline constexpr size_t kProbesMax = 64;                  // configured checks under way at once
inline constexpr size_t kProbedEndpointsMax = 4096;       // by configured checks; more are left to passive detection
inline constexpr size_t kProbeAnswerBytesMax = 16 << 10;  // the head of an HTTP answer; its body is not read

// HTTP (admin, signalling)
inline constexpr size_t kHttpHeaderBytesMax = 32 << 10;
inline constexpr size_t kHttpHeadersMax = 100;
inline constexpr size_t kHttpBodyBytesMax = 16 << 20;
inline constexpr size_t kHttpConnectionsMax = 4096;

// DNS
inline constexpr size_t kDnsTcpConnectionsMax = 512;
inline constexpr size_t kDnsInFlightUpstreamMax = 2000;
inline constexpr uint32_t kDnsWaitingPerClientMax = 256;  // of one client, at upstream
inline constexpr size_t kHostNamesMax = 10'000;           // of Gateway API and Istio objects, in DNS
inline constexpr size_t kDnsCacheBytesMax = 8 << 20;

}  // namespace base::limits
