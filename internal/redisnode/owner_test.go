package redisnode

import "testing"

// Views disagree only for moments in a real cluster, so they are made up here.
func TestOwnerWithTheHighestEpochWins(t *testing.T) {
	t.Parallel()
	a, b := &Server{announced: Address{IP: "h", Port: 1}}, &Server{announced: Address{IP: "h", Port: 2}}
	c := &Cluster{nodes: []*Server{a, b}}
	line := func(port int, epoch int64, flag string, slots ...slotRange) nodeLine {
		return nodeLine{addr: Address{IP: "h", Port: port}.String(), epoch: epoch, flags: []string{flag}, slots: slots}
	}
	mine := slotRange{5, 7}
	for _, tt := range []struct {
		name string
		seen []observation
		want *Server
	}{
		{"older claim first", []observation{
			{a, view{line(1, 3, "myself", mine), line(2, 2, "master")}},
			{b, view{line(1, 3, "master"), line(2, 4, "myself", mine)}},
		}, b},
		{"older claim last", []observation{
			{b, view{line(1, 3, "master"), line(2, 4, "myself", mine)}},
			{a, view{line(1, 3, "myself", mine), line(2, 2, "master")}},
		}, b},
		{"own claim at the same epoch", []observation{
			{a, view{line(1, 3, "master", mine)}},
			{b, view{line(2, 3, "myself", mine)}},
		}, b},
		{"own claim at the same epoch first", []observation{
			{b, view{line(2, 3, "myself", mine)}},
			{a, view{line(1, 3, "master", mine)}},
		}, b},
		{"other slots", []observation{{a, view{line(1, 3, "myself", slotRange{8, 9})}}}, nil},
		{"unknown node", []observation{{a, view{line(9, 3, "master", mine)}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := c.ownerIn(tt.seen, 6); got != tt.want {
				t.Errorf("ownerIn = %v, want %v", got, tt.want)
			}
		})
	}
}
