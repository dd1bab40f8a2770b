//go:build unix

package stampede

import "testing"

func TestParseUsage(t *testing.T) {
	t.Parallel()
	const info = "# Stats\r\ntotal_net_input_bytes:1000\r\ntotal_net_output_bytes:200\r\ntotal_commands_processed:77\r\n" +
		"\r\n# Commandstats\r\ncmdstat_get:calls=5,usec=10,usec_per_call=2.00\r\n" +
		"cmdstat_client|tracking:calls=2,usec=1,usec_per_call=0.50\r\ncmdstat_info:calls=40,usec=1,usec_per_call=0.50\r\n"
	u, err := parseUsage(info)
	if err != nil || u != (usage{commands: 7, bytes: 1200}) {
		t.Errorf("parseUsage = %+v, %v; want 7 commands, without INFO, and 1200 bytes", u, err)
	}
	if d := u.since(usage{2, 1000}); d != (usage{5, 200}) {
		t.Errorf("since = %+v", d)
	}
	for _, bad := range []string{"", "total_net_input_bytes:1\r\n", "total_net_input_bytes:x\r\ntotal_net_output_bytes:1\r\n"} {
		if _, err := parseUsage(bad); err == nil {
			t.Errorf("parseUsage(%q) found something", bad)
		}
	}
}

func TestParseTicks(t *testing.T) {
	t.Parallel()
	if busy, all := parseTicks("cpu  10 1 5 70 4 2 3 5 90 8"); busy != 26 || all != 100 {
		t.Errorf("parseTicks = %d of %d, want 26 of 100", busy, all)
	}
}
