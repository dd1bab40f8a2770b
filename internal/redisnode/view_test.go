package redisnode

import (
	"reflect"
	"testing"
)

func TestParseView(t *testing.T) {
	t.Parallel()
	const text = "aa 127.0.0.1:7001@17001,host.example myself,master - 0 0 3 connected 0-5 7 [93->-bb] 9-10\n" +
		"bb 127.0.0.1:7002@17002 slave,fail? aa 1 2 3 disconnected\n" +
		"cc :0@0 master,noaddr - 1 2 0 disconnected\n"
	want := view{
		{id: "aa", addr: "127.0.0.1:7001", flags: []string{"myself", "master"}, epoch: 3, linkUp: true,
			slots: []slotRange{{0, 5}, {7, 7}, {9, 10}}, rawSlots: " 0-5 7 9-10", open: true},
		{id: "bb", addr: "127.0.0.1:7002", flags: []string{"slave", "fail?"}, primary: "aa", epoch: 3},
		{id: "cc", addr: ":0", flags: []string{"master", "noaddr"}},
	}
	got, err := parseView(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("parseView = %+v, %v, want %+v", got, err, want)
	}
	for slot, owned := range map[int]bool{0: true, 5: true, 6: false, 7: true, 8: false, 10: true, 93: false} {
		if got[0].owns(slot) != owned {
			t.Errorf("owns(%d) = %t, want %t", slot, !owned, owned)
		}
	}
	for _, bad := range []string{"aa", "aa x:y@1 master - 0 0 3 connected", "aa :1@1 master - 0 0 z connected",
		"aa :1@1 master - 0 0 3 connected x-1", "aa :1@1 master - 0 0 3 connected 1-x"} {
		if v, err := parseView(bad); err == nil {
			t.Errorf("parseView(%q) = %+v, want an error", bad, v)
		}
	}
}

func FuzzParseView(f *testing.F) {
	f.Add("aa 127.0.0.1:7001@17001,host myself,master - 0 0 3 connected 0-5 7 [93->-bb]\n")
	f.Add("bb :0@0 slave aa 1 2 3 disconnected")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseView(text)
		if err != nil && v != nil {
			t.Errorf("parseView(%q) = %+v together with %v", text, v, err)
		}
		_, _ = v.myself()
	})
}
