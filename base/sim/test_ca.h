// Certificates for tests, in memory: an authority and what it signs (TestAuthority), and a mesh's CA whose nodes look as cloud/ca
// makes them (TestCa; layers below cloud cannot ask it). Keys are fresh in each run. Never in a product.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/net/node_cert.h"

namespace base {

struct TestLeaf {
  std::string name = "node";     // common name, "": none
  std::string san = "DNS:node";  // OpenSSL's config notation: "URI:spiffe://t/node/a,IP:10.0.0.1"
  WallTime not_before{1'700'000'000}, not_after{1'800'000'000};
  std::string custom_oid;        // an extension with these bytes, as they are
  std::string custom_value;
};

struct TestPem {
  std::string certificate_pem, key_pem;
};

class TestAuthority {  // valid from 2017 to 2049
 public:
  explicit TestAuthority(const std::string& common_name);
  TestAuthority intermediate(const std::string& unit) const;
  TestAuthority(TestAuthority&&) noexcept;
  ~TestAuthority();
  std::string pem() const;
  TestPem issue(const TestLeaf&) const;
  ByteVec sign(std::string_view) const;  // ECDSA with SHA-256

 private:
  struct Impl;
  explicit TestAuthority(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

struct TestNodePem {
  std::string cert_chain, key, ca;
};

class TestCa {
 public:
  explicit TestCa(std::string trust_domain = "mesh.test");
  struct Spec {
    std::vector<IpAddr> overlay_ips;
    std::vector<Cidr> pod_cidrs;
    std::vector<std::string> roles;
    WallTime from = kFrom, to = kTo;
  };
  static constexpr WallTime kFrom{1'770'000'000}, kTo{1'770'000'000 + 90 * 86400}, kNow{1'770'000'000 + 86400};
  TestNodePem node(const std::string& name, const Spec&) const;
  TestNodePem node(const std::string& name) const { return node(name, Spec()); }
  std::string ca_pem() const { return root_.pem(); }
  const TestAuthority& root() const { return root_; }
  const TestAuthority& node_ca() const { return node_ca_; }  // the mesh-node intermediate

 private:
  std::string trust_domain_;
  TestAuthority root_, node_ca_;
};

}  // namespace base
