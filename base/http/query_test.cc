#include "base/http/query.h"

#include <gtest/gtest.h>

namespace base {

TEST(Query, WhateverWasTypedComesOutAgain) {
  for (const char* s : {"shop/web", "a b", "a&b=c", "100%", "%2F", "\r\nX: y", "ä", "plus+plus", ""}) {
    std::string target = "x=1&service=" + percent_encode(s) + "&y=2";
    EXPECT_EQ(query_parameter(target, "service"), s);
    EXPECT_EQ(target.find_first_of(" \r\n"), std::string::npos);
  }
  EXPECT_EQ(percent_encode("shop/web-1.a_b~c"), "shop%2fweb-1.a_b~c");
}

TEST(Query, OnlyTheNameAskedForAnswers) {
  EXPECT_EQ(query_parameter("node=a&other=b", "other"), "b");
  EXPECT_EQ(query_parameter("nodes=a", "node"), "");
  EXPECT_EQ(query_parameter("node", "node"), "");
  EXPECT_EQ(query_parameter("node=", "node"), "");
  EXPECT_EQ(query_parameter("node=a&node=b", "node"), "a") << "the first of that name";
  EXPECT_EQ(query_parameter("", "node"), "");
}

TEST(Query, AnEscapeThatIsNoneStaysAsItIs) {
  for (const char* s : {"%", "%2", "%zz", "a%"}) EXPECT_EQ(query_parameter(std::string("node=") + s, "node"), s);
}

}  // namespace base
