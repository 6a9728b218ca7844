package main

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

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
