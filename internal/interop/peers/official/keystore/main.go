// Keystore does operations of branch key stores with the official module, a
// JSON object a line; see ../../../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	keystore "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographykeystoresmithygenerated"
	keystoretypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographykeystoresmithygeneratedtypes"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

type request struct {
	Op, Table, LogicalName, KMS, Key, Region, Endpoint, ID, Version string
	Context                                                         map[string]string
}

type reply struct {
	Table    string            `json:"table,omitempty"`
	ID       string            `json:"id,omitempty"`
	Version  string            `json:"version,omitempty"`
	Material []byte            `json:"material,omitempty"`
	Context  map[string]string `json:"context,omitempty"`
	Error    string            `json:"error,omitempty"`
}

func main() {
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := json.NewEncoder(os.Stdout)
	for in.More() {
		var asked request
		if err := in.Decode(&asked); err != nil {
			panic(err)
		}
		if err := out.Encode(safely(&asked)); err != nil {
			panic(err)
		}
	}
}

// safely answers also if the module panics.
func safely(asked *request) (r reply) {
	defer func() {
		if v := recover(); v != nil {
			r = reply{Error: fmt.Sprint("panic: ", v)}
		}
	}()
	r, err := answer(context.Background(), asked)
	if err != nil {
		return reply{Error: fmt.Sprintf("%T: %v", err, err)}
	}
	return r
}

func store(ctx context.Context, asked *request) (*keystore.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"))
	if err != nil {
		return nil, err
	}
	opts := keystoretypes.KeyStoreConfig{
		DdbTableName: asked.Table, LogicalKeyStoreName: asked.LogicalName, DdbClient: dynamodb.NewFromConfig(cfg),
		KmsClient: kms.NewFromConfig(cfg, func(o *kms.Options) { o.Region, o.BaseEndpoint = asked.Region, &asked.Endpoint }),
	}
	switch asked.KMS {
	case "key":
		opts.KmsConfiguration = &keystoretypes.KMSConfigurationMemberkmsKeyArn{Value: asked.Key}
	case "multiRegionKey":
		opts.KmsConfiguration = &keystoretypes.KMSConfigurationMemberkmsMRKeyArn{Value: asked.Key}
	case "discovery":
		opts.KmsConfiguration = &keystoretypes.KMSConfigurationMemberdiscovery{}
	default:
		opts.KmsConfiguration = &keystoretypes.KMSConfigurationMembermrDiscovery{Value: keystoretypes.MRDiscovery{Region: asked.Region}}
	}
	return keystore.NewClient(opts)
}

func answer(ctx context.Context, asked *request) (reply, error) {
	s, err := store(ctx, asked)
	if err != nil {
		return reply{}, err
	}
	switch asked.Op {
	case "createTable":
		made, err := s.CreateKeyStore(ctx, keystoretypes.CreateKeyStoreInput{})
		if err != nil {
			return reply{}, err
		}
		return reply{Table: made.TableArn}, nil
	case "createKey":
		in := keystoretypes.CreateKeyInput{EncryptionContext: asked.Context}
		if asked.ID != "" {
			in.BranchKeyIdentifier = &asked.ID
		}
		made, err := s.CreateKey(ctx, in)
		if err != nil {
			return reply{}, err
		}
		return reply{ID: made.BranchKeyIdentifier}, nil
	case "rotate":
		_, err := s.VersionKey(ctx, keystoretypes.VersionKeyInput{BranchKeyIdentifier: asked.ID})
		return reply{}, err
	case "active":
		got, err := s.GetActiveBranchKey(ctx, keystoretypes.GetActiveBranchKeyInput{BranchKeyIdentifier: asked.ID})
		if err != nil {
			return reply{}, err
		}
		return branchKey(got.BranchKeyMaterials), nil
	case "version":
		got, err := s.GetBranchKeyVersion(ctx, keystoretypes.GetBranchKeyVersionInput{BranchKeyIdentifier: asked.ID, BranchKeyVersion: asked.Version})
		if err != nil {
			return reply{}, err
		}
		return branchKey(got.BranchKeyMaterials), nil
	}
	got, err := s.GetBeaconKey(ctx, keystoretypes.GetBeaconKeyInput{BranchKeyIdentifier: asked.ID})
	if err != nil {
		return reply{}, err
	}
	key := got.BeaconKeyMaterials
	return reply{ID: key.BeaconKeyIdentifier, Context: key.EncryptionContext, Material: key.BeaconKey}, nil
}

func branchKey(key keystoretypes.BranchKeyMaterials) reply {
	return reply{ID: key.BranchKeyIdentifier, Version: key.BranchKeyVersion, Context: key.EncryptionContext, Material: key.BranchKey}
}
