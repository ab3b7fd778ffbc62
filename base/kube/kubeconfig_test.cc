#include "base/kube/kubeconfig.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/core/file.h"

namespace base::kube {
namespace {

// One context, with these members of its cluster and its user.
std::string config(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: main\ncontexts:\n- {name: other, context: {cluster: x, user: y}}\n"
         "- {name: main, context: {cluster: c, user: u, namespace: n}}\nclusters:\n- name: c\n  cluster: {" + cluster + "}\nusers:\n- name: u\n  user: {" + user + "}\n";
}
std::string error_of(const std::string& text) {
  auto a = parse_kubeconfig(text, "/etc/k/config");
  return a ? "no error" : a.error().what;
}
bool has(const std::string& text, const char* part) { return text.find(part) != text.npos; }

TEST(ServerUrl, ReadsSchemeHostPortAndPath) {
  auto u = parse_server_url("https://[fd00::1]:6443/k8s/clusters/c-1/").value();
  EXPECT_TRUE(u.tls);
  EXPECT_EQ(u.host, "fd00::1");
  EXPECT_EQ(u.port, 6443);
  EXPECT_EQ(u.path, "/k8s/clusters/c-1");
  EXPECT_EQ(u.str(), "https://[fd00::1]:6443/k8s/clusters/c-1");
  EXPECT_EQ(parse_server_url("https://kube.example.com")->str(), "https://kube.example.com");
  EXPECT_EQ(parse_server_url("http://127.0.0.1:10550")->port, 10550);
  EXPECT_FALSE(parse_server_url("127.0.0.1:8080")->tls);
  for (const char* bad : {"", "https://", "ftp://a", "https://a:0", "https://a:70000", "https://u@a", "https://a b", "https://[::1", "https://[::1]x", "https://a?x"})
    EXPECT_FALSE(parse_server_url(bad)) << bad;
}

TEST(Kubeconfig, CurrentContextDecidesAndDataGoesBeforeFiles) {
  auto a = parse_kubeconfig(config("server: \"https://10.0.0.1:6443\", certificate-authority: ca.crt, certificate-authority-data: Q0E=, tls-server-name: kubernetes",
                                   "client-certificate: /abs/c.crt, client-key: k.key, token: t, tokenFile: tok"), "/etc/k/config");
  ASSERT_TRUE(a) << a.error().what;
  EXPECT_EQ(a->server.str(), "https://10.0.0.1:6443");
  EXPECT_EQ(a->server_name, "kubernetes");
  EXPECT_EQ(a->ca.text, "CA");
  EXPECT_EQ(a->ca.file, "");
  EXPECT_EQ(a->certificate.file, "/abs/c.crt");
  EXPECT_EQ(a->key.file, "/etc/k/k.key");
  EXPECT_EQ(a->token.text, "t");
  EXPECT_EQ(a->token.file, "/etc/k/tok");
}

TEST(Kubeconfig, WhatCannotWorkIsSaidWithItsPlace) {
  const std::string ok = "server: \"https://h\", certificate-authority: ca";
  EXPECT_EQ(error_of(config(ok, "")), "no error");
  EXPECT_TRUE(has(error_of(config(ok, "exec: {command: aws}")), "/etc/k/config:12:16: kubeconfig: users[0].user.exec: credential plugins are not run")) << error_of(config(ok, "exec: {command: aws}"));
  EXPECT_TRUE(has(error_of(config(ok, "username: a")), "take no passwords"));
  EXPECT_TRUE(has(error_of(config(ok, "client-key: k")), "client-certificate: is missing"));
  EXPECT_TRUE(has(error_of(config("server: \"https://h\"", "")), "certificate-authority: is missing"));
  EXPECT_EQ(error_of(config("server: \"https://h\", insecure-skip-tls-verify: true", "")), "no error");
  EXPECT_EQ(error_of(config("server: \"http://h:8080\"", "")), "no error");
  EXPECT_TRUE(has(error_of(config(ok + ", proxy-url: x", "")), "proxies are not supported"));
  EXPECT_TRUE(has(error_of(config("server: \"https://h\", certificate-authority-data: \"*\"", "")), "is not base64"));
  EXPECT_TRUE(has(error_of("current-context: x\ncontexts: []\n"), "none is named \"x\""));
  EXPECT_TRUE(has(error_of("{}"), "current-context: is missing"));
}

TEST(Kubeconfig, CredentialsAreReadAnewEachTime) {
  char dir[] = "/tmp/kubeconfig.XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  const std::string d = dir;
  ASSERT_TRUE(write_file_atomic(d + "/token", "one\n", 0600));
  ASSERT_TRUE(write_file_atomic(d + "/ca.crt", "CA", 0600));
  auto a = in_cluster_access("10.96.0.1", "443", d).value();
  EXPECT_EQ(load_credentials(a)->token, "one");
  ASSERT_TRUE(write_file_atomic(d + "/token", "two", 0600));
  EXPECT_EQ(load_credentials(a)->token, "two");
  EXPECT_EQ(load_credentials(a)->ca_pem, "CA");
  ASSERT_TRUE(write_file_atomic(d + "/token", "a\nb", 0600));
  EXPECT_TRUE(has(load_credentials(a).error().what, "is not a bearer token"));
  ::unlink((d + "/token").c_str());
  EXPECT_TRUE(has(load_credentials(a).error().what, "/token"));
  a.token.text = "kept";  // the file is gone: what the config itself says
  EXPECT_EQ(load_credentials(a)->token, "kept");
  ::unlink((d + "/ca.crt").c_str());
  ::rmdir(dir);
  EXPECT_TRUE(has(in_cluster_access("", "").error().what, "this is no pod"));
}

}  // namespace
}  // namespace base::kube
