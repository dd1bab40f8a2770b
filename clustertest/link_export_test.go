package clustertest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// exportedSentinel is an Exported with every field set.
func exportedSentinel(t *testing.T) Exported {
	t.Helper()
	auth, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return Exported{
		Mode:             SentinelMode,
		Nodes:            []ExportedNode{{"n0", "192.0.2.1:6379", "127.0.0.1:1001"}, {"n1", "192.0.2.2:6379", "127.0.0.1:1002"}},
		Username:         "alice",
		Password:         "secret",
		CA:               string(auth.ca),
		Master:           "mymaster",
		Sentinels:        []ExportedNode{{"s0", "192.0.2.3:26379", "127.0.0.1:1003"}},
		SentinelPassword: "other",
	}
}

func TestExportedAsJSON(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{ClusterMode, Replicated, SentinelMode} {
		want := exportedSentinel(t)
		want.Mode = mode
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"mode":"`+mode.String()+`"`) {
			t.Errorf("JSON does not name the mode %s: %s", mode, text)
		}
		var got Exported
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("came back as %+v, want %+v", got, want)
		}
	}
	if _, err := json.Marshal(Exported{Mode: 7}); err == nil {
		t.Error("Marshal of an unknown mode succeeded")
	}
	if err := json.Unmarshal([]byte(`{"mode":"ring"}`), new(Exported)); err == nil || !strings.Contains(err.Error(), "ring") {
		t.Errorf("Unmarshal of an unknown mode: %v, want an error that names it", err)
	}
}

func TestNewLinkFromRefuses(t *testing.T) {
	t.Parallel()
	good, err := NewLinkFrom(exportedSentinel(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Exported)
		want   string // in the error
	}{
		"unknown mode":         {func(e *Exported) { e.Mode = -1 }, "Mode"},
		"no node":              {func(e *Exported) { e.Nodes = nil }, "Nodes"},
		"no master":            {func(e *Exported) { e.Master = "" }, "Master"},
		"no sentinel":          {func(e *Exported) { e.Sentinels = nil }, "Sentinels"},
		"address without port": {func(e *Exported) { e.Nodes[0].Announced = "192.0.2.1" }, `"192.0.2.1"`},
		"nowhere to reach":     {func(e *Exported) { e.Nodes[1].Reachable = "" }, `"n1"`},
		"announced twice":      {func(e *Exported) { e.Sentinels[0].Announced = e.Nodes[0].Announced }, "two"},
		"CA is no PEM":         {func(e *Exported) { e.CA = "secret" }, "CA"},
	} {
		e := exportedSentinel(t)
		test.change(&e)
		_, err := NewLinkFrom(e)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: NewLinkFrom: %v, want an error with %s", name, err, test.want)
		}
		if err := good.Update(e); err == nil {
			t.Errorf("%s: Update succeeded", name)
		}
	}
	if err := newLink(ownBook{}).Update(exportedSentinel(t)); err == nil || !strings.Contains(err.Error(), "Cluster") {
		t.Errorf("Update of a cluster's link: %v, want an error that says so", err)
	}
}

// ownBook stands for a Cluster.
type ownBook struct{ addressBook }

func TestLinkUpdate(t *testing.T) {
	t.Parallel()
	l := setupLink(t)
	client, server := l.open(t)
	e := l.book.Export()
	e.Nodes[0].Reachable = l.b.addr
	client2, server2 := l.open(t) // the copy was nobody else's
	works(t, client2, server2)
	if err := l.Update(e); err != nil {
		t.Fatal(err)
	}
	e.Nodes[0].Reachable = "127.0.0.1:1" // nor is it now
	works(t, client, server)
	moved, movedServer := l.openTo(t, addrA, l.b)
	works(t, moved, movedServer)
}

func TestLinkClientOption(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode   Mode
		init   []string
		single bool
		master string
	}{
		{ClusterMode, []string{"192.0.2.1:6379", "192.0.2.2:6379"}, false, ""},
		{Replicated, []string{"192.0.2.1:6379"}, true, ""},
		{SentinelMode, []string{"192.0.2.3:26379"}, false, "mymaster"},
	} {
		e := exportedSentinel(t)
		e.Mode = test.mode
		l, err := NewLinkFrom(e)
		if err != nil {
			t.Fatal(err)
		}
		o := l.ClientOption()
		if !reflect.DeepEqual(o.InitAddress, test.init) || o.ForceSingleClient != test.single || o.Sentinel.MasterSet != test.master {
			t.Errorf("%s: InitAddress %v, ForceSingleClient %t, MasterSet %q, want %v, %t, %q",
				test.mode, o.InitAddress, o.ForceSingleClient, o.Sentinel.MasterSet, test.init, test.single, test.master)
		}
		if o.Username != "alice" || o.Password != "secret" || o.TLSConfig == nil || o.DialCtxFn == nil {
			t.Errorf("%s: option %+v lacks credentials, TLS or the dialer", test.mode, o)
		}
		if s := o.Sentinel; test.mode == SentinelMode && (s.Password != "other" || s.TLSConfig == nil) {
			t.Errorf("%s: option %+v lacks password or TLS", test.mode, s)
		}
	}
	e := exportedSentinel(t)
	e.CA = ""
	l, err := NewLinkFrom(e)
	if err != nil {
		t.Fatal(err)
	}
	if o := l.ClientOption(); o.TLSConfig != nil || o.Sentinel.TLSConfig != nil {
		t.Error("TLS although the servers have none")
	}
}
