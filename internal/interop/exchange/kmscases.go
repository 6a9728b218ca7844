package main

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// kmsCases have every suite with AWS KMS: one key, keys of two Regions beside a
// raw one, and discovery. There are none without an endpoint for tests.
func kmsCases(ctx context.Context, keys rawKeys) ([]Case, error) {
	if os.Getenv("AWS_ENDPOINT_URL_KMS") == "" {
		return nil, nil
	}
	here, err := createKey(ctx, "us-east-1")
	if err != nil {
		return nil, err
	}
	there, err := createKey(ctx, "eu-west-1")
	if err != nil {
		return nil, err
	}
	var all []Case
	for i, id := range suite.All() {
		one := newCase("KMS", id, 4096, 200, here).withContext(contextNames[i%len(contextNames)])
		one.ID += ", one key"
		several := newCase("KMS", id, 128, 200, here, there, keys["aes-256"]).withContext(contextNames[(i+1)%len(contextNames)])
		several.Reader = i % 3
		several.ID += ", one of three keys"
		discovery := newCase("KMS", id, 4096, 200, here).withContext(contextNames[(i+2)%len(contextNames)])
		discovery.Discovery = true
		discovery.ID += ", discovery"
		all = append(all, one, several, discovery)
	}
	return all, nil
}

// multiRegionCases have every suite with a multi-Region key, read with another
// replica than the one that wrote, strictly or by discovery. moto's do not
// work, so they are those of serveKMS.
func multiRegionCases() []Case {
	arns := strings.Fields(os.Getenv(mrkKeys))
	if len(arns) == 0 {
		return nil
	}
	endpoint := os.Getenv(mrkEndpoint)
	here, there := Key{Type: "mrk", Name: arns[0], Endpoint: endpoint}, Key{Type: "mrk", Name: arns[1], Endpoint: endpoint}
	var all []Case
	for i, id := range suite.All() {
		c := newCase("replicas", id, 4096, 200, here).withContext(contextNames[i%4])
		c.ReadWith, c.Discovery = &there, i%2 == 1
		all = append(all, c)
	}
	return all
}

const (
	mrkEndpoint = "INTEROP_MRK_ENDPOINT"
	mrkKeys     = "INTEROP_MRK_KEYS" // ARNs of replicas
)

// serveKMS runs a command with kmstest's server, whose address, multi-Region
// and asymmetric keys the environment names.
func serveKMS(ctx context.Context, command []string) error {
	server := kmstest.NewServer()
	defer server.Close()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append([]string{"AWS_ACCESS_KEY_ID=kmstest", "AWS_SECRET_ACCESS_KEY=kmstest", "AWS_REGION=us-east-1"}, os.Environ()...)
	c.Env = append(c.Env, mrkEndpoint+"="+server.URL(), mrkKeys+"="+strings.Join(server.CreateMultiRegionKey("us-east-1", "eu-west-1"), " "),
		asymmetricKeys+"="+strings.Join(createAsymmetric(server), " "))
	return c.Run()
}

func createKey(ctx context.Context, region string) (Key, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return Key{}, err
	}
	out, err := awskms.NewFromConfig(cfg).CreateKey(ctx, &awskms.CreateKeyInput{})
	if err != nil {
		return Key{}, err
	}
	return Key{Type: "kms", Name: *out.KeyMetadata.Arn}, nil
}
