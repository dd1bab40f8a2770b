//go:build !linux

package localredis

const helperEnv = "LOCALREDIS_TEST_HELPER"

func runHelper() {}
