package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// A request is one operation of a store.
type request struct {
	Op          string            `json:"op"` // createTable, createKey, rotate, active, version, beacon
	Table       string            `json:"table"`
	LogicalName string            `json:"logicalName"`
	KMS         string            `json:"kms"` // key, multiRegionKey, discovery, multiRegionDiscovery
	Key         string            `json:"key,omitempty"`
	Region      string            `json:"region"`   // of the KMS client
	Endpoint    string            `json:"endpoint"` // of KMS
	ID          string            `json:"id,omitempty"`
	Version     string            `json:"version,omitempty"`
	Context     map[string]string `json:"context,omitempty"`
}

// A reply is what came of it.
type reply struct {
	Table    string            `json:"table"` // ARN
	ID       string            `json:"id"`
	Version  string            `json:"version"`
	Material []byte            `json:"material"`
	Context  map[string]string `json:"context"`
	Error    string            `json:"error"`
}

// A party is one of the two SDKs.
type party struct {
	name string
	do   func(*request) (*reply, error) // the error is of the exchange, not of the operation
}

// start starts the other SDK's program.
func start(ctx context.Context, name string, command []string) (*party, func(), error) {
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := c.Start(); err != nil {
		return nil, nil, err
	}
	lines := bufio.NewReader(out)
	do := func(r *request) (*reply, error) {
		if err := json.NewEncoder(in).Encode(r); err != nil {
			return nil, err
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var got reply
		return &got, json.Unmarshal(line, &got)
	}
	stop := func() {
		in.Close()
		io.Copy(io.Discard, lines)
		c.Wait()
	}
	return &party{name, do}, stop, nil
}

// perform does an operation with esdk.
func perform(ctx context.Context, server *kmstest.Server, r *request) (*reply, error) {
	tables, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"))
	if err != nil {
		return nil, err
	}
	opts := keystore.Options{
		Table: r.Table, LogicalName: r.LogicalName, Config: server.Config(),
		// The client warns of checksums of answers that it does not read to the end.
		DynamoDB:    dynamodb.NewFromConfig(tables, func(o *dynamodb.Options) { o.DisableValidateResponseChecksum = true }),
		MultiRegion: r.KMS == "multiRegionKey" || r.KMS == "multiRegionDiscovery",
		Discovery:   r.KMS == "discovery" || r.KMS == "multiRegionDiscovery",
	}
	if opts.Discovery {
		opts.Region = r.Region
	} else {
		opts.KeyARN = r.Key
	}
	store, err := keystore.New(ctx, opts)
	if err != nil {
		return nil, err
	}
	got, err := operate(ctx, store, r)
	if err != nil {
		return &reply{Error: err.Error()}, nil
	}
	return got, nil
}

func operate(ctx context.Context, store *keystore.Store, r *request) (*reply, error) {
	switch r.Op {
	case "createTable":
		arn, err := store.CreateTable(ctx)
		return &reply{Table: arn}, err
	case "createKey":
		id, err := store.CreateKey(ctx, r.ID, r.Context)
		return &reply{ID: id}, err
	case "rotate":
		return &reply{}, store.RotateKey(ctx, r.ID)
	case "beacon":
		key, err := store.BeaconKey(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		return &reply{ID: key.ID, Context: key.EncryptionContext, Material: key.Material}, nil
	}
	var key *hierarchical.BranchKey
	var err error
	if r.Op == "version" {
		key, err = store.BranchKeyVersion(ctx, r.ID, r.Version)
	} else {
		key, err = store.ActiveBranchKey(ctx, r.ID)
	}
	if err != nil {
		return nil, err
	}
	return &reply{ID: key.ID, Version: key.Version, Context: key.EncryptionContext, Material: key.Material}, nil
}
