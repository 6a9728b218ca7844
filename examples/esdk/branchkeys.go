package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/esdk-go/esdk/examples/esdk/internal/cmdline"
	"github.com/esdk-go/esdk/examples/esdk/internal/keyspec"
	"github.com/esdk-go/esdk/kms/keystore"
)

// branchKeys administers the branch keys of a table.
func (p *program) branchKeys(ctx context.Context, line *cmdline.Line) int {
	usage := func(err error) int { return p.usage("help keys", err) }
	if len(line.Operands) == 0 {
		return usage(errors.New("say what to do: create-table, create, rotate, list or versions"))
	}
	what, operands := line.Operands[0], line.Operands[1:]
	least, most, known := 0, 0, true
	switch what {
	case "create-table", "list":
	case "create":
		most = 1
	case "rotate", "versions":
		least, most = 1, 1
	default:
		known = false
	}
	switch {
	case !known:
		return usage(fmt.Errorf("%q is none of create-table, create, rotate, list and versions", what))
	case len(operands) < least:
		return usage(fmt.Errorf("%s needs the ID of a branch key", what))
	case len(operands) > most:
		return usage(fmt.Errorf("%q is one operand too many", operands[most]))
	case line.Value("table") == "":
		return usage(errors.New("--table is missing"))
	case line.Value("kms-key") == "" && (what == "create" || what == "rotate"):
		return usage(errors.New("--kms-key is missing: the KMS key that protects the branch keys"))
	case what != "create" && line.Has("branch-key-context"):
		return usage(errors.New("--branch-key-context is for new branch keys only"))
	}
	context, err := pairs("branch-key-context", line.All("branch-key-context"))
	if err != nil {
		return usage(err)
	}
	store, err := openStore(ctx, line)
	if err == nil {
		err = p.administer(ctx, store, what, append(operands, "")[0], context, line.Has("json"))
	}
	if err != nil {
		p.fail("", err)
		return statusFailed
	}
	return statusDone
}

func openStore(ctx context.Context, line *cmdline.Line) (*keystore.Store, error) {
	config, err := new(keyspec.Builder).Config(ctx, line.Value("profile"), line.Value("region"))
	if err != nil {
		return nil, err
	}
	o := keystore.Options{
		Table: line.Value("table"), LogicalName: line.Value("logical-name"),
		KeyARN: line.Value("kms-key"), MultiRegion: true, Config: config,
	}
	if o.LogicalName == "" {
		o.LogicalName = o.Table
	}
	o.Discovery = o.KeyARN == "" // enough for what calls no KMS key
	return keystore.New(ctx, o)
}

// administer does one thing with the table.
func (p *program) administer(ctx context.Context, store *keystore.Store, what, id string, pairs map[string]string, asJSON bool) error {
	switch what {
	case "create-table":
		arn, err := store.CreateTable(ctx)
		if err != nil {
			return err
		}
		return p.line(arn, map[string]any{"table": arn}, asJSON)
	case "create":
		id, err := store.CreateKey(ctx, id, pairs)
		if err != nil {
			return err
		}
		return p.line(id, map[string]any{"id": id}, asJSON)
	case "rotate":
		return store.RotateKey(ctx, id)
	case "versions":
		return p.list(store.Versions(ctx, id), asJSON)
	}
	return p.list(store.Keys(ctx), asJSON)
}

// line prints one line, as text or as JSON.
func (p *program) line(text string, record map[string]any, asJSON bool) error {
	if asJSON {
		line, err := jsonLine(record)
		if err != nil {
			return err
		}
		text = string(line)
	} else {
		text += "\n"
	}
	if p.out(text) != statusDone {
		return errors.New("the rest was left out")
	}
	return nil
}

// list prints keys. Those that cannot be read are named, and the others follow.
func (p *program) list(keys iter.Seq2[keystore.KeyInfo, error], asJSON bool) error {
	var failed error
	for key, err := range keys {
		if err != nil {
			if failed != nil {
				p.fail("", failed)
			}
			failed = err
			continue
		}
		created := ""
		if !key.Created.IsZero() {
			created = key.Created.UTC().Format(time.RFC3339)
		}
		state := "decrypts"
		if key.Active {
			state = "active"
		}
		text := fmt.Sprintf("%s\t%s\t%s\t%s\t%s", show(key.ID), key.Version, state, created, show(key.KMSKeyARN))
		for _, name := range slices.Sorted(maps.Keys(key.EncryptionContext)) {
			text += fmt.Sprintf("\t%q=%q", name, key.EncryptionContext[name])
		}
		if err := p.line(text, map[string]any{
			"id": key.ID, "version": key.Version, "active": key.Active, "created": created,
			"kms_key": key.KMSKeyARN, "encryption_context": key.EncryptionContext,
		}, asJSON); err != nil {
			return err
		}
	}
	return failed
}
