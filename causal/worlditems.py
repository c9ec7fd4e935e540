"""Questions, countries and attributes of a simulated world survey. The wording is ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Item:
    """A question with its topic and its options in order."""

    topic: str
    text: str
    options: tuple[str, ...]


AGREE = ("Strongly agree", "Agree", "Neither agree nor disagree", "Disagree", "Strongly disagree")
TRUST = ("A great deal", "Quite a lot", "Not very much", "Not at all")
IMPORTANT = ("Very important", "Rather important", "Not very important", "Not at all important")


def _ladder(low: str, high: str, steps: int = 10) -> tuple[str, ...]:
    return (f"1, {low}", *(str(step) for step in range(2, steps)), f"{steps}, {high}")


ITEMS = {
    "trust_strangers": Item("trust", "How much do you trust people whom you meet for the first time?", TRUST),
    "trust_neighbours": Item("trust", "How much do you trust the people who live next door to you?", TRUST),
    "trust_courts": Item("trust", "How much confidence do you have that courts treat everybody alike?", TRUST),
    "trust_careful": Item(
        "trust",
        "When you deal with others, where do you stand between always being on your guard and always trusting them?",
        _ladder("always on my guard", "always trusting"),
    ),
    "faith_weight": Item("religion", "How important is religion in how you lead your life?", IMPORTANT),
    "faith_service": Item(
        "religion",
        "Leaving weddings and funerals aside, how often do you go to a religious service?",
        ("Every day", "Every week", "Every month", "A few times a year", "Once a year", "Less often", "Never"),
    ),
    "faith_public": Item("religion", "People without a faith should not hold public office.", AGREE),
    "faith_god": Item("religion", "How large a part does God have in your life?", _ladder("none", "the largest")),
    "work_weight": Item("work", "How important is work to you?", IMPORTANT),
    "work_duty": Item("work", "Everybody who can work owes it to others to do so.", AGREE),
    "work_jobs": Item("work", "When jobs are few, men should be given them before women.", AGREE),
    "work_reward": Item(
        "work",
        "Should pay be more equal, or should effort be rewarded more?",
        _ladder("pay should be more equal", "effort should be rewarded more"),
    ),
    "family_mothers": Item("family", "Small children suffer when their mother goes out to work.", AGREE),
    "family_parents": Item("family", "Grown children must care for their parents, whatever it costs them.", AGREE),
    "family_divorce": Item(
        "family", "How far can divorce be justified, in your opinion?", _ladder("never", "in every case")
    ),
    "family_pride": Item(
        "family",
        "How much of what you aim for is meant to make your parents proud?",
        ("All of it", "Most of it", "About half", "Little of it", "None of it"),
    ),
    "politics_interest": Item(
        "politics",
        "How interested are you in politics?",
        ("Very interested", "Somewhat interested", "Not very interested", "Not at all interested"),
    ),
    "politics_leader": Item(
        "politics",
        "How good would it be to have a leader who does not have to answer to parliament?",
        ("Very good", "Fairly good", "Fairly bad", "Very bad"),
    ),
    "politics_talk": Item(
        "politics",
        "How often do you talk about politics with friends?",
        ("Daily", "Several times a week", "Weekly", "Monthly", "Rarely", "Never"),
    ),
    "politics_state": Item(
        "politics",
        "Who should see to it that everybody is provided for?",
        _ladder("people themselves", "the government"),
    ),
    "science_better": Item("science", "Science makes the lives of most people healthier and easier.", AGREE),
    "science_fast": Item("science", "Science changes the way we live faster than is good for us.", AGREE),
    "science_belief": Item(
        "science",
        "How far do you rely on science, and how far on belief, when the two disagree?",
        _ladder("only on belief", "only on science", 7),
    ),
    "science_world": Item(
        "science", "Is the world better or worse off because of technology?", _ladder("much worse", "much better")
    ),
}
"""By name; four to ten options."""

COUNTRIES = {
    "AUS": ("Australia", "tier 1"),
    "BGD": ("Bangladesh", "tier 3"),
    "BRA": ("Brazil", "tier 2"),
    "CAN": ("Canada", "tier 1"),
    "DEU": ("Germany", "tier 1"),
    "ETH": ("Ethiopia", "tier 3"),
    "GBR": ("the United Kingdom", "tier 1"),
    "IDN": ("Indonesia", "tier 2"),
    "KEN": ("Kenya", "tier 3"),
    "KOR": ("South Korea", "tier 2"),
    "MEX": ("Mexico", "tier 2"),
    "NGA": ("Nigeria", "tier 3"),
    "TUR": ("Turkey", "tier 2"),
    "USA": ("the United States", "tier 1"),
}
"""Name and tier by code. Nothing is known of these countries here: their people are made up."""
TIERS = ("tier 1", "tier 2", "tier 3")

ATTRIBUTES: dict[str, Any] = {
    "gender": {"male": "a man", "female": "a woman"},
    "education": {"college": "with a college degree", "no college": "without a college degree"},
    "settlement": {"urban": "living in a city", "rural": "living in the countryside"},
    "marital": {"married": "married", "not married": "not married"},
}
"""Words of each level in a persona; the reference first, as in the paper."""
