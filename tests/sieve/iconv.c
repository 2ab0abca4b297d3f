/* What Dovecot makes of bytes with the iconv of the C library that this is linked to: reads lines `charset hex`, writes
   `hex` of the UTF-8, or `unknown`. */
#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <string.h>

static unsigned char out[65536];

static size_t converted(iconv_t cd, char *in, size_t left)
{
	char *to = (char *)out;
	size_t room = sizeof out - 8;
	char *replaced = NULL;
	while (left > 0 && iconv(cd, &in, &left, &to, &room) == (size_t)-1) {
		if (errno != EILSEQ) /* an incomplete character at the end is dropped */
			break;
		if (to != replaced) {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
			replaced = to;
		}
		in++;
		left--;
	}
	return to - (char *)out;
}

int main(void)
{
	char name[256], hex[4096], bytes[2048];
	while (scanf("%255s %4095s", name, hex) == 2) {
		size_t length = strlen(hex) / 2;
		for (size_t i = 0; i < length; i++) {
			unsigned byte;
			sscanf(hex + 2 * i, "%2x", &byte);
			bytes[i] = byte;
		}
		iconv_t cd = iconv_open("UTF-8", name);
		if (cd == (iconv_t)-1) {
			puts("unknown");
			continue;
		}
		size_t long_ = converted(cd, bytes, length);
		for (size_t i = 0; i < long_; i++)
			printf("%02x", out[i]);
		puts("");
		iconv_close(cd);
	}
	return 0;
}
