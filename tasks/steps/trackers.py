"""Parameters of a URL that say how a reader came to a page, and nothing of the page."""

from __future__ import annotations

from typing import Final

# Whole names in lower case, each of one product, and prefixes that only one product has. Never by substring, and none
# that could mean content: ``source``, ``ref``, ``uid``, ``keyword`` or ``pk`` (a primary key) tell pages apart.
_NAMES: Final = frozenset(
    {
        # advertising: Google, Microsoft, Yandex, Adobe, Impact, CJ, Taboola, Outbrain
        "_ga", "_gac", "_gl", "dclid", "gad_campaignid", "gad_source", "gbraid", "gclid", "gclsrc", "srsltid", "wbraid",
        "msclkid", "_openstat", "yclid", "ysclid", "ef_id", "s_cid", "s_kwcid", "cjevent", "irclickid", "irgwc",
        "dicbo", "tblci", "wickedid", "zanpid",
        # social networks: Facebook, Instagram, Twitter, TikTok, Pinterest, LinkedIn, Snapchat, Reddit, Branch
        "fb_action_ids", "fb_action_types", "fb_ref", "fb_source", "fbclid", "mibextid", "igsh", "igshid",
        "__twitter_impression", "ref_src", "twclid", "ttclid", "epik", "li_fat_id", "sccid", "rdt_cid",
        "_branch_match_id", "_branch_referrer",
        # mailings: HubSpot, Mailchimp, MailerLite, Marketo, Eloqua, Klaviyo, Vero, Omeda, Drip
        "__hsfp", "__hssc", "__hstc", "_hsenc", "_hsmi", "hsctatracking", "mc_cid", "mc_eid", "ml_subscriber",
        "ml_subscriber_hash", "mkt_tok", "elqtrack", "elqtrackid", "_ke", "_kx", "vero_conv", "vero_id",
        "oly_anon_id", "oly_enc_id", "__s",
        # audience counters: Piwik Pro and Matomo, AT Internet, comScore, Webtrekk, Yahoo's consent page
        "pk_campaign", "pk_cid", "pk_content", "pk_keyword", "pk_kwd", "pk_medium", "pk_source", "pk_vid",
        "piwik_campaign", "piwik_keyword", "piwik_kwd", "matomo_campaign", "matomo_keyword", "matomo_kwd",
        "at_campaign", "at_campaign_type", "at_format", "at_link_id", "at_link_origin", "at_link_type", "at_medium",
        "at_ptr_name", "xtor", "ns_campaign", "ns_linkname", "ns_mchannel", "wt_mc", "wt_zmc",
        "guccounter", "guce_referrer", "guce_referrer_sig",
    }
)  # fmt: skip
_PREFIXES: Final = ("utm_", "mtm_", "hsa_")  # Urchin and all after it, Matomo, HubSpot's advertisements


def is_tracker(parameter: str) -> bool:
    """Tell whether ``name=value``, as it stands in a query, is a tracker's."""
    name = parameter.partition("=")[0].lower()
    return name in _NAMES or name.startswith(_PREFIXES)
