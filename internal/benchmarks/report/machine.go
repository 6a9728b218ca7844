package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// describeMachine says what the figures were measured on and with, as far as
// the system tells.
func describeMachine() string {
	var b strings.Builder
	fmt.Fprintf(&b, "- Machine: %s, %d cores, %s/%s\n", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&b, "- %s\n", runtime.Version())
	if commit, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		fmt.Fprintf(&b, "- Commit: %s\n", strings.TrimSpace(string(commit)))
	}
	versions := []string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			for path, name := range map[string]string{
				"github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk": "AWS Encryption SDK for Go",
				"github.com/chainifynet/aws-encryption-sdk-go":                 "chainifynet", "github.com/minio/sio": "sio", "github.com/tink-crypto/tink-go/v2": "tink", "filippo.io/age": "age",
			} {
				if d.Path == path {
					versions = append(versions, name+" "+d.Version)
				}
			}
		}
	}
	fmt.Fprintf(&b, "- Peers: %s\n", strings.Join(versions, ", "))
	return b.String()
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
