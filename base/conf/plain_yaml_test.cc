// The plain reader against the library: where it reads at all, values and places are the same.
#include "base/conf/plain_yaml.h"

#include <gtest/gtest.h>

#include "base/conf/yaml_testing.h"
#include "base/core/rng.h"

namespace base::conf {
namespace {

TEST(PlainYaml, AServiceIsReadHere) {
  const std::string text =
      "# made by hand\napiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  labels: {}\n  annotations:\n    example.com/x: \"yes: "
      "[1]\"\n\n"
      "spec:\n  clusterIP: 10.96.0.7\n  ports:\n  - name: http\n    port: 80\n    targetPort: 'http'\n  -   port: 0x1F\n  selector:\n      "
      "app: web\n"
      "  externalIPs:\n    - 192.0.2.1\n    - 2001:db8::1\n";
  auto v = read_plain_yaml(text, 1);
  ASSERT_TRUE(v);
  EXPECT_EQ(show(*v) + "\n", by_library(text));
  EXPECT_EQ(*v->find("spec")->find("ports")->list()->at(1).find("port")->integer(), 31);
}

TEST(PlainYaml, WhatIsNotPlainIsRefused) {
  for (const char* text : {"",
                           "# only a comment\n",
                           "a:\n",
                           "a:\nb: 1\n",
                           "- a:\n- b\n",
                           "a: b: c\n",
                           "a: |\n  x\n",
                           "a: >\n  x\n",
                           "a: &x 1\n",
                           "a: *x\n",
                           "a: !!str 1\n",
                           "a: [1]\n",
                           "a: {b: 1}\n",
                           "a: \"x\\n\"\n",
                           "a: 'it''s'\n",
                           "a: \"x\n  y\"\n",
                           "a: b\n  c\n",
                           "- a\n  b\n",
                           "a: 1 # one\n",
                           "a:\t1\n",
                           "a: \xc3\xa9\n",
                           "a: 1\r\n",
                           "<<: 1\n",
                           "? a\n: b\n",
                           "a: 1\na: 2\n",
                           "~: 1\n",
                           "null: 1\n",
                           " a: 1\n",
                           "a: 1\n b: 2\n",
                           "a:\n    b: 1\n  c: 2\n",
                           "-\n  a: 1\n",
                           "word\n",
                           "%YAML 1.2\n",
                           "a: 1\n...\n",
                           "a: @x\n",
                           "a: `x\n",
                           "a: -\n",
                           "- -\n",
                           "a: \"x\" y\n",
                           "a: b #c\n"})
    EXPECT_FALSE(read_plain_yaml(text, 1)) << text;
}

class Writer {
 public:
  explicit Writer(uint64_t seed) : rng_(seed) {}
  std::string document() {
    text_.clear();
    block(0, 0);
    return text_;
  }
  // One character more, less or another.
  void damage(std::string& s) {
    static constexpr std::string_view kChars = " -:#'\"{}[]|>&*!%@`,?~\\\n\t.a0";
    if (s.empty()) return;
    const size_t at = below(s.size());
    const char c = kChars[below(kChars.size())];
    switch (below(3)) {
      case 0:
        s.erase(at, 1);
        break;
      case 1:
        s.insert(at, 1, c);
        break;
      default:
        s[at] = c;
    }
  }
  size_t below(size_t n) { return size_t(rng_.u64() % n); }

 private:
  const char* scalar() {
    static constexpr const char* kScalars[] = {"web",
                                               "1",
                                               "-1",
                                               "0755",
                                               "1.5",
                                               "1.2.3.4",
                                               "true",
                                               "no",
                                               "null",
                                               "Null",
                                               "\"quoted: yes\"",
                                               "'single # x'",
                                               "\"\"",
                                               "{}",
                                               "[]",
                                               "a b c",
                                               "http://x.y/z?q=1",
                                               "a:b",
                                               "2001:db8::1",
                                               "::1",
                                               "x - y",
                                               "1e3",
                                               ".5",
                                               "0x1F",
                                               "1_000",
                                               "+5",
                                               "-",
                                               "a, b",
                                               "(x)",
                                               "team-1",
                                               "a=b;c",
                                               "~",
                                               "y",
                                               "/path",
                                               "10Mi",
                                               "-.inf",
                                               "a'b",
                                               "a\"b",
                                               "*",
                                               "%",
                                               "it is",
                                               "\"a\\tb\"",
                                               "'it''s'",
                                               "-a",
                                               "--",
                                               "- x",
                                               "a: b",
                                               "x:",
                                               "|",
                                               "=",
                                               "==x"};
    return kScalars[below(below(3) ? 22 : std::size(kScalars))];
  }
  const char* key() {
    static constexpr const char* kKeys[] = {
        "a",    "b",   "c", "app.kubernetes.io/name", "\"q\"", "'k k'", "80", "d-e", "_f", "/g", "h", "i", "j", "true", "1.5",
        "null", "x y", "<<"};
    return kKeys[below(below(4) ? 8 : std::size(kKeys))];
  }
  void extras() {
    if (below(12) == 0) text_ += "\n";
    if (below(12) == 0) text_ += std::string(below(6), ' ') + "# note: [x]\n";
  }
  void indent(size_t n) { text_ += std::string(n, ' '); }
  void block(size_t at, size_t depth) { below(3) ? map(at, depth, false) : list(at, depth, false); }
  // inside: the first line has begun already.
  void map(size_t at, size_t depth, bool inside) {
    for (size_t i = 0, n = 1 + below(3); i < n; ++i) {
      if (i || !inside) extras(), indent(at);
      text_ += key();
      text_ += ":";
      if (depth < 4 && below(3) == 0) {
        text_ += "\n";
        if (below(3) == 0) list(at, depth + 1, false);
        else block(at + 1 + below(4), depth + 1);
      } else {
        text_ += std::string(1 + below(5) / 4, ' ') + scalar() + (below(20) ? "\n" : "  \n");
      }
    }
  }
  void list(size_t at, size_t depth, bool inside) {
    for (size_t i = 0, n = 1 + below(3); i < n; ++i) {
      if (i || !inside) extras(), indent(at);
      const size_t gap = 1 + below(4) / 3;
      text_ += "-" + std::string(gap, ' ');
      switch (depth < 4 ? below(4) : 0) {
        case 1:
          map(at + 1 + gap, depth + 1, true);
          break;
        case 2:
          list(at + 1 + gap, depth + 1, true);
          break;
        default:
          text_ += std::string(scalar()) + "\n";
      }
    }
  }
  SeededRng rng_;
  std::string text_;
};

TEST(PlainYaml, AgreesWithTheLibraryOnAnything) {
  Writer w(17);
  size_t plain = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = w.document();
    for (size_t n = w.below(4); n > 1; --n) w.damage(text);
    auto v = read_plain_yaml(text, 1);
    if (!v) continue;
    ++plain;
    ASSERT_EQ(show(*v) + "\n", by_library(text)) << text;
  }
  EXPECT_GT(plain, 4'000u);
}

TEST(PlainYaml, DocumentsOfBothKindsInOneFileKeepTheirPlaces) {
  Writer w(23);
  for (int i = 0; i < 500; ++i) {
    std::string mixed, library;
    for (size_t n = 1 + w.below(5); n > 0; --n) {
      const std::string document = w.document(), header = w.below(3) ? "---\n" : "---  \n";
      const char* plain_or_not[] = {"# e\n", "# \xc3\xa9\n"};
      mixed += header + document + plain_or_not[w.below(2)];
      library += header + document + plain_or_not[1];
    }
    ASSERT_EQ(read_all(mixed), read_all(library)) << mixed;
  }
}

TEST(PlainYaml, DirectivesAndDocumentEndsReachAsFarAsTheyDo) {
  EXPECT_EQ(read_all("a: 1\n...\n%TAG ! tag:x,2000:\n---\nb: !foo 2\n---\nc: 3\n"),
            "@1:1 {a@1:1: @1:4 int 1, }\n@5:1 {b@5:1: @5:4 \"2\", }\n@7:1 {c@7:1: @7:4 int 3, }\n");
  EXPECT_EQ(read_all("a: \"x\n---\ny\"\n"), "error t:2:1: illegal document indicator in scalar");
  EXPECT_EQ(read_all("# \xc3\xa9\n \t# b\n---\na: 1\n"), "@4:1 {a@4:1: @4:4 int 1, }\n");
  EXPECT_EQ(read_all("a: |\n  ---\n  x\nb: 1\n---\nc: 2\n"),
            "@1:1 {a@1:1: @1:4 \"---\nx\n\", b@4:1: @4:4 int 1, }\n@6:1 {c@6:1: @6:4 int 2, }\n");
  EXPECT_EQ(read_all("a: 1\n---\nb: [\n"), "@1:1 {a@1:1: @1:4 int 1, }\nerror t:4:1: end of sequence flow not found");
}

}  // namespace
}  // namespace base::conf
