package utf8text

import "testing"

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"café \ufffd 😀":             "",
		BOM + "a":                   "",
		"a\x00":                     "byte 1 is 0: binary data, not a text",
		"caf\xe9\x00":               "byte 3 (0xe9) is not UTF-8",
		"é\xff":                     "byte 2 (0xff) is not UTF-8",
		"\xed\xa0\x80":              "byte 0 (0xed) is not UTF-8",
		"a\x00b\x00":                "the text is in UTF-16LE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16LE -t UTF-8",
		"\x00a\x00b":                "the text is in UTF-16BE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16BE -t UTF-8",
		"\xfe\xff\x04\x10":          "the text is in UTF-16BE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16BE -t UTF-8",
		"\xff\xfe\x10\x04":          "the text is in UTF-16LE from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-16LE -t UTF-8",
		"\xff\xfe\x00\x00a\x00\x00": "the text is in UTF-32 from byte 0 on, want UTF-8: convert it, as with iconv -f UTF-32 -t UTF-8",
		"\x00\x01\x02\x03":          "byte 0 is 0: binary data, not a text",
	} {
		got := ""
		if err := Check(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
