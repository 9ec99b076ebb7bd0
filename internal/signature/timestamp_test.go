package signature_test

import (
	"fmt"
	"testing"
	"time"

	"callbackd/internal/signature"

	"pgregory.net/rapid"
)

// spellings lists what the standard libraries of clients write for
// 2021-05-30T12:49:19Z, by library. PAVE's page says "UTC Datetime string".
var spellings = map[string][]string{
	"documented": {"2021-05-30T12:49:19Z", "1622378959", "Sun, 30 May 2021 12:49:19 GMT"},
	"PHP": {
		"2021-05-30T12:49:19+0000",                 // DATE_ISO8601
		"2021-05-30T12:49:19+00:00",                // DATE_ATOM, RFC3339, W3C, date('c')
		"+2021-05-30T12:49:19+00:00",               // DATE_ISO8601_EXPANDED
		"2021-05-30T12:49:19.000+00:00",            // DATE_RFC3339_EXTENDED
		"Sun, 30 May 2021 12:49:19 +0000",          // DATE_RFC2822, RFC1123, RSS, date('r')
		"Sun, 30 May 21 12:49:19 +0000",            // DATE_RFC822, RFC1036
		"Sunday, 30-May-21 12:49:19 UTC",           // DATE_RFC850
		"Sunday, 30-May-2021 12:49:19 UTC",         // DATE_COOKIE
		"Sunday, 30-May-2021 12:49:19 GMT",         // gmdate(DATE_COOKIE)
		"Sunday, 30-May-2021 12:49:19 GMT+0000",    // the same in PHP 7
		"Sunday, 30-May-2021 14:49:19 +02:00",      // DateTime with an offset
		"2021-05-30 12:49:19",                      // gmdate('Y-m-d H:i:s')
		"2021-05-30 12:49:19.000000",               // 'Y-m-d H:i:s.u'
		"1622378959.0000", "0.00000000 1622378959", // microtime
	},
	"Python": {
		"2021-05-30T12:49:19", "2021-05-30T12:49:19.000000", // utcnow().isoformat()
		"2021-05-30T12:49:19+00:00", "2021-05-30T12:49:19.000000+00:00", "2021-05-30T14:49:19+02:00",
		"2021-05-30 12:49:19", "2021-05-30 12:49:19.000000", "2021-05-30 12:49:19+00:00", "2021-05-30 12:49:19.000000+00:00", // str
		"Sun, 30 May 2021 12:49:19 -0000", "Sun, 30 May 2021 12:49:19 GMT", // email.utils.formatdate
		"Sun May 30 12:49:19 2021",                                                    // time.asctime(gmtime())
		"1622378959.0", "1622378959.000001", "1622378959000.0", "1622378959000000000", // time.time, time.time_ns
	},
	"Ruby": {
		"2021-05-30 12:49:19 UTC", "2021-05-30 12:49:19 +0000", "2021-05-30 14:49:19 +0200", // to_s
		"2021-05-30 12:49:19.000000001 UTC",                                             // inspect
		"2021-05-30T12:49:19Z", "2021-05-30T12:49:19+00:00", "Sun May 30 12:49:19 2021", // iso8601, DateTime, ctime
		"Sun, 30 May 2021 12:49:19 -0000", "Sun, 30 May 2021 12:49:19 GMT", "1622378959.0", // rfc2822, httpdate, to_f
	},
	"JavaScript": {
		"2021-05-30T12:49:19.000Z", "Sun, 30 May 2021 12:49:19 GMT", "1622378959000", "1622378959.000", // toISOString, toUTCString, now
		"Sun May 30 2021 12:49:19 GMT+0000 (Coordinated Universal Time)", "Sun May 30 2021 14:49:19 GMT+0200 (Central European Summer Time)", // toString
	},
	"Java": {
		"2021-05-30T12:49:19Z", "2021-05-30T12:49:19.000000001Z", "2021-05-30T12:49:19", "2021-05-30T12:49:19.000001", // Instant, LocalDateTime
		"2021-05-30T12:49:19Z[UTC]", "2021-05-30T13:49:19+01:00[Europe/London]", // ZonedDateTime
		"Sun, 30 May 2021 12:49:19 GMT", "Sun, 30 May 2021 12:49:19 +0000", "Sun May 30 12:49:19 UTC 2021", "Sun May 30 12:49:19 GMT 2021", // RFC_1123_DATE_TIME, Date.toString
		"20210530T124919Z", "1.622378959E9", "1.622378959E12", // basic, a float's toString
	},
	"C#": {"2021-05-30T12:49:19.0000000Z", "2021-05-30T12:49:19.0000001+00:00", "2021-05-30T12:49:19", "2021-05-30 12:49:19Z", "Sun, 30 May 2021 12:49:19 GMT"}, // o, s, u, r
	"Go": {
		"2021-05-30 12:49:19 +0000 UTC", "2021-05-30 12:49:19.000000001 +0000 UTC m=+0.000012345", "2021-05-30 14:49:19 +0200 CEST", // String
		"Sun May 30 12:49:19 2021", "Sun May 30 12:49:19 UTC 2021", "Sun May 30 12:49:19 +0000 2021", // ANSIC, UnixDate, RubyDate
		"30 May 21 12:49 UTC", "30 May 21 12:49 +0000", "Sunday, 30-May-21 12:49:19 UTC", "Sun, 30 May 2021 12:49:19 UTC", // RFC822, RFC850, RFC1123
	},
	"others": {
		"2021-05-30t12:49:19z", "2021-05-30 12:49:19,000", "2021-05-30 12:49:19UTC", "2021-05-30T12:49:19 GMT", "2021-05-30T12:49:19+00",
		"Sun, 30 May 2021 08:49:19 EDT", "Sun, 30 May 2021 05:49:19 PDT", "Sun, 30 May 2021 07:49:19 -0500", "30 May 2021 12:49:19 Z", " 2021-05-30  12:49:19 ",
		"1622378959000000", "1622378959000.5",
	},
}

func TestTimestampsOfStandardLibrariesAreRead(t *testing.T) {
	for library, texts := range spellings {
		for _, s := range texts {
			at, err := signature.ParseTimestamp(s)
			if err != nil {
				t.Errorf("%s: %q is refused: %v", library, s, err)
			}
			if off := at.Sub(vectorTime); off < -20*time.Second || off > time.Millisecond {
				t.Errorf("%s: %q reads as %v, which is off by %v", library, s, at, off)
			}
			tok := signature.Token(account, apiKey, s, secret)
			if err := new(signature.TokenChecker).Check(account, apiKey, secret, s, tok, vectorTime); err != nil {
				t.Errorf("%s: a call with %q: %v", library, s, err)
			}
			if err := new(signature.TokenChecker).Check(account, apiKey, secret, s+" ", tok, vectorTime); err == nil {
				t.Errorf("%s: the token of %q passes for another text", library, s)
			}
			if err := new(signature.TokenChecker).Check(account, apiKey, secret, s, tok, vectorTime.Add(6*time.Minute)); err == nil {
				t.Errorf("%s: %q passes when it is old", library, s)
			}
		}
	}
}

func TestWhatIsNoTimestampIsRefused(t *testing.T) {
	for _, s := range []string{"", " ", "now", "-1", "+1622378959", "1e400", "1622378959.", ".5", "0x60b38b0f", "16223789590000000000", "2021-05-30", "12:49:19", "2021-05-30T12", "2021-13-30T12:49:19Z",
		"2021-02-30T12:49:19Z", "2021-05-30T24:49:19Z", "2021-05-30T12:60:19Z", "2021-05-30T12:49:61Z", "2021-05-30T12:49:19+25:00", "2021-05-30T12:49:19 CEST", "30/05/2021 12:49:19", "5/30/2021 12:49:19 PM",
		"Sun, 31 Jun 2021 12:49:19 GMT", "Son, 30 Mai 2021 12:49:19 GMT", "Sun May 30 12:49:19", "2021-05-30T12:49:19Zx", "2021-05-30T12:49:19Z\x00", "２０２１-05-30T12:49:19Z"} {
		if at, err := signature.ParseTimestamp(s); err == nil {
			t.Errorf("%q reads as %v", s, at)
		}
	}
}

// Whatever the time, each layout reads back as it was written.
func TestEveryLayoutReadsBack(t *testing.T) {
	layouts := map[string]time.Duration{
		time.RFC3339Nano: 1, time.RFC3339: time.Second, "2006-01-02T15:04:05-0700": time.Second, "2006-01-02 15:04:05": time.Second, "2006-01-02 15:04:05.000000": time.Microsecond,
		"2006-01-02T15:04:05.0000000Z07:00": 100, "2006-01-02 15:04:05.999999999 -0700 MST": 1, time.ANSIC: time.Second, time.UnixDate: time.Second, time.RubyDate: time.Second,
		time.RFC822: time.Minute, time.RFC822Z: time.Minute, time.RFC850: time.Second, time.RFC1123: time.Second, time.RFC1123Z: time.Second, "Mon Jan 02 2006 15:04:05 GMT-0700": time.Second,
		"20060102T150405Z": time.Second,
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 3_000_000_000).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
		for layout, precision := range layouts {
			if got, err := signature.ParseTimestamp(at.Format(layout)); err != nil || !got.Equal(at.Truncate(precision)) {
				t.Fatalf("%q reads as %v, %v", at.Format(layout), got, err)
			}
		}
		if at.Unix() < 100_000_000 { // a time since 1970 is told from one in smaller units by its size
			return
		}
		for s, precision := range map[string]time.Duration{fmt.Sprint(at.Unix()): time.Second, fmt.Sprint(at.UnixMilli()): time.Millisecond, fmt.Sprint(at.UnixMicro()): time.Microsecond, fmt.Sprint(at.UnixNano()): 1,
			fmt.Sprintf("%d.%09d", at.Unix(), at.Nanosecond()): 1} {
			if got, err := signature.ParseTimestamp(s); err != nil || !got.Equal(at.Truncate(precision)) {
				t.Fatalf("%s reads as %v, %v, want %v", s, got, err, at)
			}
		}
	})
}

func FuzzTimestamp(f *testing.F) {
	for _, texts := range spellings {
		for _, s := range texts {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := signature.ParseTimestamp(s)
		if err != nil {
			return
		}
		if y := at.Year(); y < 0 || y > 9999 {
			t.Fatalf("%q is in the year %d", s, y)
		}
		if back, err := signature.ParseTimestamp(at.Format(time.RFC3339Nano)); err != nil || !back.Equal(at) {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, at, back, err)
		}
	})
}
