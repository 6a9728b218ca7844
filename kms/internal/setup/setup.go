// Package setup has what KMS providers and key stores share when they make AWS
// clients and call them.
package setup

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/middleware"

	"github.com/esdk-go/esdk/kms/internal/arn"
)

// Config returns a copy of the given configuration, or that of
// config.LoadDefaultConfig if it is nil. A region that is not empty takes the
// place of its own.
func Config(ctx context.Context, given *aws.Config, region string) (aws.Config, error) {
	var cfg aws.Config
	if given != nil {
		cfg = given.Copy()
	} else {
		var err error
		if cfg, err = config.LoadDefaultConfig(ctx); err != nil {
			return aws.Config{}, fmt.Errorf("the default AWS configuration: %w", err)
		}
	}
	if region != "" {
		cfg.Region = region
	}
	if cfg.Region != "" && !arn.ValidLabel(cfg.Region) {
		return aws.Config{}, fmt.Errorf("the AWS configuration's Region %q is not a Region", cfg.Region)
	}
	return cfg, nil
}

// UserAgent returns what adds the name of this library to the user agent of a
// call, in the form lib/esdk-go#version. It is for the options of calls, not
// of clients, because those can be the caller's.
func UserAgent() func(*middleware.Stack) error {
	return awsmiddleware.AddUserAgentKeyValue("lib", "esdk-go#"+version())
}

// version returns this module's version as the program was built with it.
func version() string {
	const path = "github.com/esdk-go/esdk"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == path && m.Version != "" {
			return strings.Trim(m.Version, "()") // (devel) in a checkout
		}
	}
	return "unknown"
}
